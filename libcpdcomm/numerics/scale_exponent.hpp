#pragma once

#include <cstdint>

#include "numerics/cast.hpp"

namespace cpdcomm::numerics {

// A scale exponent travels as int16; the two ends of its range say what no number can.
inline constexpr std::int16_t kNothing = INT16_MIN;    ///< all values are zero
inline constexpr std::int16_t kNonFinite = INT16_MAX;  ///< an Inf or NaN; wins every MAX

/// APS: E = ceil(log2(largest * world)), from integers, so exact at powers of two and beyond FP32.
/// @param largest_bits  the largest absolute value as FP32 bits (NaN and Inf compare above all)
/// @param world         ranks times emulated nodes, at least 1
CPDCOMM_HOST_DEVICE inline std::int16_t scale_exponent(std::uint32_t largest_bits,
                                                       std::uint64_t world) {
  if (largest_bits >= kInfinity) return kNonFinite;
  if (largest_bits == 0) return kNothing;
  const Magnitude magnitude = magnitude_of(largest_bits);
  // world < 2^40, so the product fits.
  std::uint64_t below = static_cast<std::uint64_t>(magnitude.significand) * world - 1;
  int log2_ceil = 0;
  for (; below != 0; below >>= 1) ++log2_ceil;
  return static_cast<std::int16_t>(magnitude.exponent - 23 + log2_ceil);
}

/// The shift with which values are cast: the largest possible sum lands at the format's top.
CPDCOMM_HOST_DEVICE inline int shift_for(std::int16_t exponent, int emax) {
  return exponent == kNothing || exponent == kNonFinite ? 0 : emax - exponent;
}

}  // namespace cpdcomm::numerics
