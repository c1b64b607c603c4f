#pragma once

#include "cpdcomm/format.hpp"
#include "numerics/host_device.hpp"
#include "numerics/rounding.hpp"

namespace cpdcomm::numerics {

inline constexpr std::uint32_t kInfinity = 0x7f800000u;
inline constexpr std::uint32_t kQuietNan = 0x7fc00000u;  // the one NaN: positive, quiet

/// Whether x is Inf or NaN.
CPDCOMM_HOST_DEVICE inline bool is_non_finite(float x) {
  return (bits_of(x) & 0x7fffffffu) >= kInfinity;
}

/// What a cast needs of a float format, worked out once. Codes here are those of magnitudes.
struct FloatLayout {
  int man_bits;
  int emin;
  int emax;  ///< exponent of the largest binade; for one exponent bit, which has no normals, 0
  int bias;
  int sign_position;
  std::uint32_t largest;     ///< the largest finite value
  std::uint32_t overflow;    ///< what a finite overflow gives, unless it saturates
  std::uint32_t infinity;    ///< what Inf gives
  std::uint32_t nan;         ///< what NaN gives
  std::uint32_t non_finite;  ///< the first code that is not finite; all above are NaN
  bool has_infinity;         ///< whether `non_finite` is Inf, not NaN
  bool has_nan;              ///< without it a NaN becomes the largest value of its sign

  /// `eXmY`.
  CPDCOMM_HOST_DEVICE constexpr explicit FloatLayout(int exp_bits, int man)
      : man_bits(man),
        emin(2 - (1 << (exp_bits - 1))),
        emax((1 << (exp_bits - 1)) - 1),
        bias((1 << (exp_bits - 1)) - 1),
        sign_position(exp_bits + man),
        largest((((1u << exp_bits) - 1u) << man) - 1u),
        overflow(largest + 1u),
        infinity(largest + 1u),
        nan(infinity | (man > 0 ? 1u << (man - 1) : 0u)),
        non_finite(infinity),
        has_infinity(true),
        has_nan(true) {}

  /// `eXmYfn`: the top exponent holds finite values; one code of it is NaN where the format has
  /// eight bits, none where it has fewer (OCP 8-bit floating point and microscaling formats).
  CPDCOMM_HOST_DEVICE static constexpr FloatLayout finite(int exp_bits, int man) {
    FloatLayout layout(exp_bits, man);
    const std::uint32_t top = (1u << layout.sign_position) - 1u;
    layout.has_infinity = false;
    layout.has_nan = layout.sign_position == 7;
    layout.emax += 1;
    layout.largest = layout.has_nan ? top - 1u : top;
    layout.overflow = layout.largest;
    layout.infinity = top;
    layout.nan = top;
    layout.non_finite = layout.has_nan ? top : top + 1u;
    return layout;
  }

  /// Of a float format, or of the elements of a microscaling format.
  static constexpr FloatLayout of(Format format) {
    const bool ieee = format.kind() == Format::Kind::floating || format.exp_bits() == 5;
    return ieee ? FloatLayout(format.exp_bits(), format.man_bits())
                : finite(format.exp_bits(), format.man_bits());
  }
};

/// The code of an Inf or NaN.
CPDCOMM_HOST_DEVICE inline std::uint32_t encode_non_finite(std::uint32_t bits,
                                                           const FloatLayout& to) {
  const std::uint32_t sign = (bits >> 31) << to.sign_position;
  if (!to.has_nan) return sign | to.largest;
  const bool is_nan = (bits & 0x7fffffffu) > kInfinity;
  if (is_nan || !to.has_infinity) return to.nan;
  return sign | to.infinity;
}

/// The code of x * 2^shift in a float format, rounded once.
template <typename Rounding = NearestEven>
CPDCOMM_HOST_DEVICE inline std::uint32_t encode_value(float x, int shift, const FloatLayout& to,
                                                      bool saturate, Rounding round = {}) {
  const std::uint32_t bits = bits_of(x);
  const std::uint32_t absolute = bits & 0x7fffffffu;
  const std::uint32_t sign = (bits >> 31) << to.sign_position;
  if (absolute >= kInfinity) return encode_non_finite(bits, to);
  if (absolute == 0) return sign;

  const Magnitude magnitude = magnitude_of(absolute);
  // From one binade above the largest on everything overflows alike; this bounds the code below.
  const int exponent =
      magnitude.exponent + shift > to.emax ? to.emax + 1 : magnitude.exponent + shift;
  const int below_normal = exponent < to.emin ? to.emin - exponent : 0;
  const std::uint32_t rounded = round(magnitude.significand, 23 - to.man_bits + below_normal);

  // A normal significand carries its hidden bit into the exponent field, and so does a carry.
  const auto binades = static_cast<std::uint32_t>(exponent - to.emin + below_normal);
  const std::uint32_t code = (binades << to.man_bits) + rounded;
  if (code <= to.largest) return sign | code;
  return sign | (saturate ? to.largest : to.overflow);
}

/// The FP32 value of a code.
CPDCOMM_HOST_DEVICE inline float decode_value(std::uint32_t code, const FloatLayout& from) {
  const std::uint32_t absolute = code & ((1u << from.sign_position) - 1u);
  const std::uint32_t sign = ((code >> from.sign_position) & 1u) << 31;
  if (absolute >= from.non_finite) {
    const bool is_infinity = from.has_infinity && absolute == from.non_finite;
    return float_of(is_infinity ? sign | kInfinity : kQuietNan);
  }

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

/// x * 2^shift rounded to a float format once, as FP32.
template <typename Rounding = NearestEven>
CPDCOMM_HOST_DEVICE inline float cast_value(float x, int shift, const FloatLayout& to,
                                            bool saturate, Rounding round = {}) {
  return decode_value(encode_value(x, shift, to, saturate, round), to);
}

/// x * 2^shift rounded to FP32 once.
CPDCOMM_HOST_DEVICE inline float scale_value(float x, int shift) {
  return shift == 0 ? x : cast_value(x, shift, FloatLayout(8, 23), false);
}

}  // namespace cpdcomm::numerics
