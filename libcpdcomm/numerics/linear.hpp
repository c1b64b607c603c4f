#pragma once

#include "numerics/cast.hpp"

namespace cpdcomm::numerics {

// `intK`: symmetric linear quantization on an FP32 scale. Divisions and products here are IEEE, in
// FP32, each rounded once; callers see to the default floating-point environment.

inline constexpr std::uint32_t kLargestFinite = 0x7f7fffffu;

/// The largest integer of K = man_bits + 1 bits.
CPDCOMM_HOST_DEVICE inline std::int32_t largest_integer(int man_bits) {
  return static_cast<std::int32_t>((1u << man_bits) - 1u);
}

/// The scale of a block whose largest magnitude has these FP32 bits; NaN where it is not finite.
CPDCOMM_HOST_DEVICE inline float linear_scale(std::uint32_t largest_bits, int man_bits) {
  if (largest_bits >= kInfinity) return float_of(kQuietNan);
  return float_of(largest_bits) / static_cast<float>(largest_integer(man_bits));
}

template <typename Rounding = NearestEven>
CPDCOMM_HOST_DEVICE inline std::int32_t linear_encode(float x, float scale, int man_bits,
                                                      Rounding round = {}) {
  if (scale == 0.0f) return 0;
  const float quotient = x / scale;
  const std::int32_t most = largest_integer(man_bits);
  if (is_non_finite(quotient)) return quotient > 0.0f ? most : -most;
  return round_to_integer(quotient, 0, most, round);
}

/// Any value but NaN, Inf as the largest finite value of its sign.
CPDCOMM_HOST_DEVICE inline float at_most_largest(float value) {
  if (!is_non_finite(value)) return value;
  return float_of((bits_of(value) & 0x80000000u) | kLargestFinite);
}

/// integer * scale, at most the largest finite value; NaN where the scale is not finite.
CPDCOMM_HOST_DEVICE inline float linear_decode(std::int32_t integer, float scale) {
  if (is_non_finite(scale)) return float_of(kQuietNan);
  const float value = static_cast<float>(integer) * scale;
  return at_most_largest(value);
}

}  // namespace cpdcomm::numerics
