#pragma once

#include <fmt/format.h>

#include <cstdio>
#include <exception>

#include "common/exit_codes.hpp"

namespace cpdcomm::perf {

/// What a program ends with: what `run` returns, or kFailed after saying what it throws.
/// @param program  its name
template <typename Run>
int guarded(const char* program, Run&& run) {
  try {
    return run();
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}: {}\n", program, error.what());
    return kFailed;
  }
}

}  // namespace cpdcomm::perf
