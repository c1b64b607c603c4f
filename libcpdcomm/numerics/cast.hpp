#pragma once

#include "cpdcomm/format.hpp"
#include "numerics/host_device.hpp"

namespace cpdcomm::numerics {

inline constexpr std::uint32_t kInfinity = 0x7f800000u;
inline constexpr std::uint32_t kQuietNan = 0x7fc00000u;  // the one NaN: positive, quiet

/// What a cast needs of a Format, worked out once.
struct FloatLayout {
  int man_bits;
  int emin;
  int emax;
  int bias;
  int sign_position;
  std::uint32_t infinity;  ///< magnitude code of Inf; all above are NaN
  std::uint32_t nan;       ///< magnitude code of the one NaN (that of Inf when man_bits is 0)

  CPDCOMM_HOST_DEVICE constexpr explicit FloatLayout(int exp_bits, int man)
      : man_bits(man),
        emin(2 - (1 << (exp_bits - 1))),
        emax((1 << (exp_bits - 1)) - 1),
        bias((1 << (exp_bits - 1)) - 1),
        sign_position(exp_bits + man),
        infinity(((1u << exp_bits) - 1u) << man),
        nan(infinity | (man > 0 ? 1u << (man - 1) : 0u)) {}

  constexpr explicit FloatLayout(Format format)
      : FloatLayout(format.exp_bits(), format.man_bits()) {}
};

/// The magnitude m * 2^(exponent - 23) of a finite non-zero FP32 value, 2^23 <= m < 2^24.
struct Magnitude {
  std::uint32_t significand;
  int exponent;
};

CPDCOMM_HOST_DEVICE inline Magnitude magnitude_of(std::uint32_t absolute_bits) {
  const int field = static_cast<int>(absolute_bits >> 23);
  const std::uint32_t mantissa = absolute_bits & 0x7fffffu;
  if (field != 0) return {mantissa | 0x800000u, field - 127};
  const int up = 23 - top_bit(mantissa);
  return {mantissa << up, -126 - up};
}

/// Rounds a significand of 24 bits to multiples of 2^drop, nearest-even; 0 <= drop <= 25.
CPDCOMM_HOST_DEVICE inline std::uint32_t round_nearest_even(std::uint32_t significand, int drop) {
  const std::uint32_t kept = significand >> drop;
  const std::uint32_t rest = significand & ((1u << drop) - 1u);
  return kept + (2u * rest + (kept & 1u) > (1u << drop) ? 1u : 0u);
}

/// The code of x * 2^shift in an eXmY format, rounded once, nearest-even.
/// Integer arithmetic only: no flush-to-zero mode and no rounding mode of the caller reaches it.
CPDCOMM_HOST_DEVICE inline std::uint32_t encode_value(float x, int shift, const FloatLayout& to,
                                                      bool saturate) {
  const std::uint32_t bits = bits_of(x);
  const std::uint32_t absolute = bits & 0x7fffffffu;
  const std::uint32_t sign = (bits >> 31) << to.sign_position;
  if (absolute > kInfinity) return to.nan;
  if (absolute == kInfinity) return sign | to.infinity;
  if (absolute == 0) return sign;

  Magnitude magnitude = magnitude_of(absolute);
  // From one binade above the largest on everything overflows alike; this bounds the code below.
  const int exponent =
      magnitude.exponent + shift > to.emax ? to.emax + 1 : magnitude.exponent + shift;
  const int below_normal = exponent < to.emin ? to.emin - exponent : 0;
  int drop = 23 - to.man_bits + below_normal;
  if (drop > 25) drop = 25;  // less than half of the smallest value: 0 from here on
  const std::uint32_t rounded = round_nearest_even(magnitude.significand, drop);

  // A normal significand carries its hidden bit into the exponent field, and so does a carry.
  const auto binades = static_cast<std::uint32_t>(exponent - to.emin + below_normal);
  const std::uint32_t code = (binades << to.man_bits) + rounded;
  if (code < to.infinity) return sign | code;
  return sign | (saturate ? to.infinity - 1u : to.infinity);
}

/// The FP32 value of a code.
CPDCOMM_HOST_DEVICE inline float decode_value(std::uint32_t code, const FloatLayout& from) {
  const std::uint32_t absolute = code & ((1u << from.sign_position) - 1u);
  const std::uint32_t sign = ((code >> from.sign_position) & 1u) << 31;
  if (absolute > from.infinity) return float_of(kQuietNan);
  if (absolute == from.infinity) return float_of(sign | kInfinity);

  const auto field = static_cast<int>(absolute >> from.man_bits);
  const std::uint32_t mantissa = absolute & ((1u << from.man_bits) - 1u);
  const std::uint32_t fraction = mantissa << (23 - from.man_bits);
  if (field != 0) {
    return float_of(sign | (static_cast<std::uint32_t>(field - from.bias + 127) << 23) | fraction);
  }
  // With eight exponent bits a subnormal is an FP32 subnormal; otherwise FP32 can normalise it.
  if (mantissa == 0 || from.emin == -126) return float_of(sign | fraction);
  const int top = top_bit(mantissa);
  const auto exponent = static_cast<std::uint32_t>(from.emin - from.man_bits + top + 127);
  return float_of(sign | (exponent << 23) | ((mantissa << (23 - top)) & 0x7fffffu));
}

/// x * 2^shift rounded to an eXmY format once, as FP32.
CPDCOMM_HOST_DEVICE inline float cast_value(float x, int shift, const FloatLayout& to,
                                            bool saturate) {
  return decode_value(encode_value(x, shift, to, saturate), to);
}

/// x * 2^shift rounded to FP32 once.
CPDCOMM_HOST_DEVICE inline float scale_value(float x, int shift) {
  return shift == 0 ? x : cast_value(x, shift, FloatLayout(8, 23), false);
}

}  // namespace cpdcomm::numerics
