#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace cpdcomm::perf {

/// What the repetitions of one case with one number of threads gave.
struct Result {
  std::string kernel;
  std::string format;
  std::size_t values;
  int threads;
  std::vector<double> times_us;          ///< of one pass over the buffer, in ascending order
  std::optional<double> of_memcpy = {};  ///< rate / that of memcpy of the same values and threads

  double time_us() const;  ///< the median
  double bytes_per_second() const;
  std::optional<double> spread() const;  ///< (largest - smallest) / median, of two or more
};

/// Fills in `of_memcpy` wherever memcpy was measured, too.
void compare_with_memcpy(std::vector<Result>& results);

}  // namespace cpdcomm::perf
