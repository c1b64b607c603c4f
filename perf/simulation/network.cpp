#include "simulation/network.hpp"

#include <map>

namespace cpdcomm::perf {
namespace {

const std::map<std::string, double> kUnits{{"kbit", 1e3}, {"mbit", 1e6}, {"gbit", 1e9}};
constexpr double kPayload = 1448.0 / 1538;
constexpr double kBitsOfByte = 8;
constexpr double kTcpOverhead = 5e-6;
constexpr double kHostOverhead = 0.5e-6;

}  // namespace

std::optional<double> parse_rate(const std::string& text) {
  std::size_t end = 0;
  try {
    const double number = std::stod(text, &end);
    const auto unit = kUnits.find(text.substr(end));
    if (unit == kUnits.end() || !(number > 0 && number <= 1e6)) return std::nullopt;
    return number * unit->second / kBitsOfByte;
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

schedule::Network network_of(const std::string& name, const Options& options) {
  const bool one_host = name == kOneHost;
  const double across = one_host ? options.inside_rate : *parse_rate(name) * kPayload;
  return {options.inside_latency,
          options.latency,
          options.inside_rate,
          across,
          options.overhead.value_or(one_host ? kHostOverhead : kTcpOverhead),
          options.cpu_rate};
}

}  // namespace cpdcomm::perf
