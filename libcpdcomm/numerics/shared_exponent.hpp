#pragma once

#include "numerics/cast.hpp"

namespace cpdcomm::numerics {

// Blocks with a power of two as their scale: what is stored of it from the largest magnitude's FP32
// bits, and the FP32 number that codes are multiplied by.

inline constexpr std::uint32_t kNanExponent = 255;  ///< the byte of a block with an Inf or NaN

/// 2^exponent, from -149 to 127.
CPDCOMM_HOST_DEVICE inline float power_of_two(int exponent) {
  if (exponent >= -126) return float_of(static_cast<std::uint32_t>(exponent + 127) << 23);
  return float_of(1u << (exponent + 149));
}

/// floor(log2(x)) of a positive finite x.
CPDCOMM_HOST_DEVICE inline int exponent_of(float x) { return magnitude_of(bits_of(x)).exponent; }

/// Block floating point, `bfpK` (HBFP: M. Drumond et al., Training DNNs with hybrid block floating
/// point, NeurIPS 2018): f, the exponent field of the largest magnitude, which is less than
/// 2^(f-126).
CPDCOMM_HOST_DEVICE inline std::uint32_t bfp_exponent(std::uint32_t largest_bits) {
  return largest_bits >> 23;
}

/// What the integers of a `bfpK` block count, man_bits = K - 1.
CPDCOMM_HOST_DEVICE inline float bfp_step(std::uint32_t exponent, int man_bits) {
  if (exponent == kNanExponent) return float_of(kQuietNan);
  return power_of_two(static_cast<int>(exponent) - 126 - man_bits);
}

/// Microscaling (OCP Microscaling Formats v1.0, 5 and 6.3): S, of which 2^(S-127) is the scale.
/// @param emax  of the element format; 0 for int8
CPDCOMM_HOST_DEVICE inline std::uint32_t mx_exponent(std::uint32_t largest_bits, int emax) {
  const std::uint32_t field = largest_bits >> 23;
  if (field == kNanExponent) return kNanExponent;
  const auto top = static_cast<std::uint32_t>(emax);
  return field > top ? field - top : 0;
}

/// The scale of a microscaling block.
CPDCOMM_HOST_DEVICE inline float mx_scale(std::uint32_t exponent) {
  if (exponent == kNanExponent) return float_of(kQuietNan);
  return power_of_two(static_cast<int>(exponent) - 127);
}

/// The integers of `mxint8` count 2^-6 of the scale.
inline constexpr int kMxIntFraction = 6;

/// An integer on a power of two, rounded to FP32 once.
CPDCOMM_HOST_DEVICE inline float scaled_integer(std::int32_t integer, int exponent) {
  return scale_value(static_cast<float>(integer), exponent);
}

}  // namespace cpdcomm::numerics
