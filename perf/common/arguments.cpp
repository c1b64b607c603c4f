#include "common/arguments.hpp"

#include <fmt/format.h>

#include <map>
#include <optional>

namespace cpdcomm::perf {
namespace {

const std::map<std::string, double> kUnits{
    {"", 1},       {"B", 1},        {"K", 0x1p10}, {"k", 0x1p10}, {"KiB", 0x1p10}, {"M", 0x1p20},
    {"m", 0x1p20}, {"MiB", 0x1p20}, {"G", 0x1p30}, {"g", 0x1p30}, {"GiB", 0x1p30}};
constexpr double kMostBytes = 0x1p50;  // far from where sums of sizes overflow
constexpr double kMostSeconds = 1e7;

/// A number at the beginning of a text, which goes on at `end`; none where there is no number.
std::optional<double> number_in(const std::string& text, std::size_t& end) {
  try {
    return std::stod(text, &end);
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

}  // namespace

std::size_t parse_size(const std::string& flag, const std::string& text) {
  std::size_t end = 0;
  const std::optional<double> number = number_in(text, end);
  const auto unit = kUnits.find(text.substr(end));
  const double bytes = number && unit != kUnits.end() ? *number * unit->second : -1;
  if (!(bytes >= 0 && bytes <= kMostBytes)) {
    throw CLI::ValidationError(
        flag, fmt::format("'{}' is no size; allowed is a number, such as 1024, 64K, 4M or 1G "
                          "(binary units), up to 1048576G",
                          text));
  }
  return static_cast<std::size_t>(bytes);
}

CLI::Validator seconds() {
  return CLI::Validator(
      [](const std::string& text) -> std::string {
        std::size_t end = 0;
        const std::optional<double> number = number_in(text, end);
        const bool fits = number && *number >= 0.001 && *number <= kMostSeconds;
        if (fits && end == text.size()) return {};
        return fmt::format("'{}' is no time; allowed are 0.001 to {:.0f} seconds", text,
                           kMostSeconds);
      },
      "");
}

CLI::Validator not_empty() {
  return CLI::Validator(
      [](const std::string& text) {
        return std::string(text.empty() ? "the name of a file is needed, not ''" : "");
      },
      "");
}

}  // namespace cpdcomm::perf
