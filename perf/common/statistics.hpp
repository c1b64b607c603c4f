#pragma once

#include <cstddef>
#include <vector>

namespace cpdcomm::perf {

/// The median of sorted numbers, at least one.
inline double median_of_sorted(const std::vector<double>& sorted) {
  const std::size_t middle = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

}  // namespace cpdcomm::perf
