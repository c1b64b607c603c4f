#pragma once

#include "numerics/linear.hpp"
#include "numerics/shared_exponent.hpp"

namespace cpdcomm::numerics {

// `exact`: integers on a scale that all ranks share, summed as integers.

/// The widest sum whose product with an FP32 scale is exact in FP64: 29 + 24 bits.
inline constexpr int kWidestSum = 29;

/// ceil(log2(parts)), parts >= 1: the bits by which a sum of so many is wider than one.
CPDCOMM_HOST_DEVICE inline int sum_growth(std::uint32_t parts) {
  return parts == 1 ? 0 : top_bit(parts - 1) + 1;
}

/// sum * step, exact in FP64, then rounded to FP32 once, at most the largest finite value; NaN
/// where the step is not finite. In the default floating-point environment.
CPDCOMM_HOST_DEVICE inline float sum_value(std::int32_t sum, double step) {
  const double product = static_cast<double>(sum) * step;
  if (!(product - product == 0)) return float_of(kQuietNan);
  return at_most_largest(static_cast<float>(product));
}

/// sum / 2^drop as an integer, for a sum of at most kWidestSum bits.
template <typename Rounding = NearestEven>
CPDCOMM_HOST_DEVICE inline std::int32_t narrow_sum(std::int32_t sum, int drop,
                                                   Rounding round = {}) {
  const auto magnitude = static_cast<std::uint32_t>(sum < 0 ? -sum : sum);
  const auto rounded = static_cast<std::int32_t>(round(magnitude, drop));
  return sum < 0 ? -rounded : rounded;
}

}  // namespace cpdcomm::numerics
