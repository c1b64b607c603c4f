#pragma once

#include <CLI/CLI.hpp>
#include <cstddef>
#include <string>

#include "cpdcomm/error.hpp"

// What values on a command line may be.
namespace cpdcomm::perf {

/// Bytes as nccl-tests takes them, a number with a binary unit: 8, 64K, 64k, 1.5G.
/// @throws CLI::ValidationError that names the option, the text and what is allowed
std::size_t parse_size(const std::string& flag, const std::string& text);

/// Seconds. CLI::Range lets NaN pass, and shows its ends with all their digits.
CLI::Validator seconds();

/// The name of a file.
CLI::Validator not_empty();

/// What a parser of the library takes; its complaint otherwise.
template <typename Parser>
CLI::Validator accepted_by(Parser parser) {
  return CLI::Validator(
      [parser](const std::string& name) -> std::string {
        try {
          parser(name);
          return {};
        } catch (const Error& error) {
          return error.what();
        }
      },
      "");
}

}  // namespace cpdcomm::perf
