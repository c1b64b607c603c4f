#include "codecs/result.hpp"

#include <map>
#include <utility>

#include "common/statistics.hpp"

namespace cpdcomm::perf {

double Result::time_us() const { return median_of_sorted(times_us); }

double Result::bytes_per_second() const {
  return 1e6 * static_cast<double>(values * sizeof(float)) / time_us();
}

std::optional<double> Result::spread() const {
  if (times_us.size() < 2) return std::nullopt;
  return (times_us.back() - times_us.front()) / time_us();
}

void compare_with_memcpy(std::vector<Result>& results) {
  std::map<std::pair<std::size_t, int>, double> memcpy_us;
  for (const Result& result : results) {
    if (result.kernel == "memcpy") memcpy_us[{result.values, result.threads}] = result.time_us();
  }
  for (Result& result : results) {
    const auto found = memcpy_us.find({result.values, result.threads});
    if (found != memcpy_us.end()) result.of_memcpy = found->second / result.time_us();
  }
}

}  // namespace cpdcomm::perf
