#pragma once

#include <cstddef>

#include "numerics/cast.hpp"

namespace cpdcomm::numerics {

/// The mean magnitude of a block, which `sign` keeps: summed in FP64 in one order everywhere, over
/// 16 interleaved lanes.
class MeanMagnitude {
 public:
  static constexpr std::size_t kLanes = 16;

  CPDCOMM_HOST_DEVICE void add(float x) {
    lanes_[count_ % kLanes] += static_cast<double>(float_of(bits_of(x) & 0x7fffffffu));
    ++count_;
  }

  /// The mean of `count` values from their lanes' sums, rounded to FP32 once; NaN where a value was
  /// not finite.
  CPDCOMM_HOST_DEVICE static float of(double* lanes, std::size_t count) {
    for (std::size_t half = kLanes / 2; half > 0; half /= 2) {
      for (std::size_t lane = 0; lane < half; ++lane) lanes[lane] += lanes[lane + half];
    }
    // Finite FP32 values, however many, stay far below the end of FP64.
    if (!(lanes[0] <= 1e300)) return float_of(kQuietNan);
    return static_cast<float>(lanes[0] / static_cast<double>(count));
  }

  CPDCOMM_HOST_DEVICE float mean() { return of(lanes_, count_); }

 private:
  double lanes_[kLanes] = {};
  std::size_t count_ = 0;
};

}  // namespace cpdcomm::numerics
