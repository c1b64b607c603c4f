// Casts to float formats, and codes back to FP32, a vector at a time, per target. The arithmetic is
// that of numerics/cast.hpp; what a format and a shift ask for is worked out once.
#if defined(CPDCOMM_CODEC_SIMD_FLOATS_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef CPDCOMM_CODEC_SIMD_FLOATS_INL_HPP
#undef CPDCOMM_CODEC_SIMD_FLOATS_INL_HPP
#else
#define CPDCOMM_CODEC_SIMD_FLOATS_INL_HPP
#endif

#include <hwy/highway.h>

#include <algorithm>

#include "numerics/cast.hpp"
#include "numerics/shared_exponent.hpp"

#if !CPDCOMM_PLAIN_TARGET
HWY_BEFORE_NAMESPACE();
namespace cpdcomm::codec::simd::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F = hn::ScalableTag<float>;
using U = hn::RebindToUnsigned<F>;
using I = hn::RebindToSigned<F>;
using VF = hn::Vec<F>;
using VU = hn::Vec<U>;
using VI = hn::Vec<I>;

HWY_INLINE VU set(std::uint32_t value) { return hn::Set(U(), value); }
HWY_INLINE VI set_int(int value) { return hn::Set(I(), value); }
HWY_INLINE VU bits_of(VF v) { return hn::BitCast(U(), v); }
HWY_INLINE VF float_of(VU v) { return hn::BitCast(F(), v); }

HWY_INLINE VU magnitude_of(VU bits) { return hn::And(bits, set(0x7fffffffu)); }
/// Whether magnitudes are those of Inf or NaN.
HWY_INLINE hn::Mask<I> is_special(VU magnitude) {
  return hn::Gt(hn::BitCast(I(), magnitude), set_int(static_cast<int>(numerics::kInfinity) - 1));
}

// Shifts by the lane's count, which may be 32 and more: 0 comes out.
HWY_INLINE VU shift_right(VU v, VU by) {
#if HWY_TARGET <= HWY_AVX2
  return hn::Shr(v, by);
#else
  const VU most = set(31);
  return hn::IfThenElseZero(hn::Eq(hn::Min(by, most), by), hn::Shr(v, hn::Min(by, most)));
#endif
}
HWY_INLINE VU shift_left(VU v, VU by) {
#if HWY_TARGET <= HWY_AVX2
  return hn::Shl(v, by);
#else
  const VU most = set(31);
  return hn::IfThenElseZero(hn::Eq(hn::Min(by, most), by), hn::Shl(v, hn::Min(by, most)));
#endif
}

// Rounding significands of 24 bits to integers, dropping `drop` bits, 0 or more of them.

struct NearestEven {
  static constexpr bool kDraws = false;
  static HWY_INLINE VU round(VU significand, VU drop, VU /*words*/) {
    const VU most = hn::Min(drop, set(26));  // less than half from here on
    const VU one = set(1);
    const VU kept = hn::Shr(significand, most);
    const VU unit = hn::Shl(one, most);
    const VU rest = hn::And(significand, hn::Sub(unit, one));
    const VU twice = hn::Add(hn::Add(rest, rest), hn::And(kept, one));
    const auto up = hn::Gt(hn::BitCast(I(), twice), hn::BitCast(I(), unit));
    return hn::Add(kept, hn::IfThenElseZero(hn::RebindMask(U(), up), one));
  }
};

struct Stochastic {
  static constexpr bool kDraws = true;
  static HWY_INLINE VU round(VU significand, VU drop, VU words) {
    const VU word_bits = set(32);
    const VU kept = shift_right(significand, drop);
    // Where a difference is negative, as an unsigned number it shifts everything out.
    const VU fraction = hn::Or(shift_left(significand, hn::Sub(word_bits, drop)),
                               shift_right(significand, hn::Sub(drop, word_bits)));
    const auto up = hn::Gt(fraction, hn::Not(words));
    return hn::Add(kept, hn::IfThenElseZero(up, set(1)));
  }
};

/// What all casts do with the sign, above the largest value, and with what is not finite.
class CodeOf {
 public:
  explicit HWY_INLINE CodeOf(const numerics::FloatLayout& to, bool saturate)
      : to_(to),
        limit_(set(saturate ? to.largest : to.overflow)),
        sign_(set(1u << to.sign_position)),
        sign_shift_(set(static_cast<std::uint32_t>(31 - to.sign_position))) {}

  /// @param code  of the magnitude of a finite value, as if the format went on above its largest
  HWY_INLINE VU finite(VU bits, VU code) const {
    return hn::Or(hn::Min(code, limit_), hn::And(hn::Shr(bits, sign_shift_), sign_));
  }

  /// The codes of finite values with those of other values put in.
  HWY_INLINE VU any(VU bits, VU code) const {
    const VU magnitude = magnitude_of(bits);
    return hn::IfThenElse(hn::RebindMask(U(), is_special(magnitude)), non_finite(bits, magnitude),
                          code);
  }

 private:
  HWY_INLINE VU non_finite(VU bits, VU magnitude) const {
    const VU sign = hn::And(hn::Shr(bits, sign_shift_), sign_);
    if (!to_.has_nan) return hn::Or(sign, set(to_.largest));
    if (!to_.has_infinity) return set(to_.nan);
    const auto is_infinity = hn::Eq(magnitude, set(numerics::kInfinity));
    return hn::IfThenElse(is_infinity, hn::Or(sign, set(to_.infinity)), set(to_.nan));
  }

  numerics::FloatLayout to_;
  VU limit_;
  VU sign_;
  VU sign_shift_;
};

/// Nearest-even, where all of the format's normal range is normal in FP32 too: the normal range by
/// integers on the bits of x, the subnormal range by an addition that pushes out what is too small.
class FastCast {
 public:
  static constexpr bool kDraws = false;

  static bool takes(const numerics::FloatLayout& to, int shift) {
    const int emin = to.emin - shift;
    return to.man_bits < 23 && emin >= -126 && emin - to.man_bits + 23 <= 127;
  }

  HWY_INLINE FastCast(const numerics::FloatLayout& to, int shift, bool saturate)
      : code_of_(to, saturate),
        drop_(set(static_cast<std::uint32_t>(23 - to.man_bits))),
        // Without mantissa bits the last one kept is the hidden bit: a tie always goes up.
        last_bit_(set(to.man_bits > 0 ? 1u : 0u)),
        below_half_(set((1u << (22 - to.man_bits)) - (to.man_bits > 0 ? 1u : 0u))),
        offset_(set(static_cast<std::uint32_t>(to.emin - shift + 126) << to.man_bits)),
        first_normal_(set_int((to.emin - shift + 127) << 23)),
        push_(hn::Set(F(), numerics::power_of_two(to.emin - shift - to.man_bits + 23))) {}

  HWY_INLINE VU operator()(VU bits, VU /*words*/) const {
    const VU magnitude = magnitude_of(bits);
    const VU last_kept = hn::And(hn::Shr(magnitude, drop_), last_bit_);
    const VU rounded = hn::Shr(hn::Add(magnitude, hn::Add(below_half_, last_kept)), drop_);
    const VU normal = hn::Sub(rounded, offset_);
    const VU pushed = bits_of(hn::Add(float_of(magnitude), push_));
    const VU subnormal = hn::Sub(pushed, bits_of(push_));
    const auto is_subnormal = hn::Lt(hn::BitCast(I(), magnitude), first_normal_);
    return code_of_.finite(bits,
                           hn::IfThenElse(hn::RebindMask(U(), is_subnormal), subnormal, normal));
  }
  const CodeOf& code_of() const { return code_of_; }

 private:
  CodeOf code_of_;
  VU drop_;
  VU last_bit_;
  VU below_half_;
  VU offset_;
  VI first_normal_;
  VF push_;
};

/// As FastCast, and straight to the value instead of its code: rounded at the scale of x, where all
/// of the format's range must be normal, then multiplied by 2^shift, which is exact.
class FastRound {
 public:
  static bool takes(const numerics::FloatLayout& to, int shift) {
    const bool is_factor = -126 <= shift && shift <= 127;
    return is_factor && to.emax - shift <= 127 && FastCast::takes(to, shift);
  }

  HWY_INLINE FastRound(const numerics::FloatLayout& to, int shift, bool saturate)
      : to_(to),
        drop_(set(static_cast<std::uint32_t>(23 - to.man_bits))),
        last_bit_(set(to.man_bits > 0 ? 1u : 0u)),
        below_half_(set((1u << (22 - to.man_bits)) - (to.man_bits > 0 ? 1u : 0u))),
        kept_(set(~0u << (23 - to.man_bits))),
        first_normal_(set_int((to.emin - shift + 127) << 23)),
        largest_(hn::BitCast(I(), unscaled_bits(to.largest, shift))),
        overflow_(unscaled_bits(saturate ? to.largest : to.overflow, shift)),
        push_(hn::Set(F(), numerics::power_of_two(to.emin - shift - to.man_bits + 23))),
        factor_(hn::Set(F(), numerics::power_of_two(shift))) {}

  HWY_INLINE VF operator()(VU bits) const {
    const VU magnitude = magnitude_of(bits);
    const VU last_kept = hn::And(hn::Shr(magnitude, drop_), last_bit_);
    const VU normal = hn::And(hn::Add(magnitude, hn::Add(below_half_, last_kept)), kept_);
    const VU subnormal = bits_of(hn::Sub(hn::Add(float_of(magnitude), push_), push_));
    const auto is_subnormal = hn::Lt(hn::BitCast(I(), magnitude), first_normal_);
    const VU rounded = hn::IfThenElse(hn::RebindMask(U(), is_subnormal), subnormal, normal);
    const auto too_large = hn::Gt(hn::BitCast(I(), rounded), largest_);
    const VU value = hn::IfThenElse(hn::RebindMask(U(), too_large), overflow_, rounded);
    return hn::Mul(float_of(hn::Or(value, hn::And(bits, set(0x80000000u)))), factor_);
  }

  /// The values of finite ones with those of others put in.
  HWY_INLINE VF any(VU bits, VF value) const {
    const VU magnitude = magnitude_of(bits);
    const VU sign = hn::And(bits, set(0x80000000u));
    VU instead = hn::Or(sign, value_bits(to_.largest));
    if (to_.has_nan) {
      const auto is_infinity = hn::Eq(magnitude, set(numerics::kInfinity));
      const VU infinity =
          to_.has_infinity ? hn::Or(sign, set(numerics::kInfinity)) : value_bits(to_.nan);
      instead = hn::IfThenElse(is_infinity, infinity, value_bits(to_.nan));
    }
    return hn::IfThenElse(hn::RebindMask(F(), is_special(magnitude)), float_of(instead), value);
  }

 private:
  HWY_INLINE VU value_bits(std::uint32_t code) const {
    return set(numerics::bits_of(numerics::decode_value(code, to_)));
  }
  HWY_INLINE VU unscaled_bits(std::uint32_t code, int shift) const {
    return set(numerics::bits_of(numerics::scale_value(numerics::decode_value(code, to_), -shift)));
  }

  numerics::FloatLayout to_;
  VU drop_;
  VU last_bit_;
  VU below_half_;
  VU kept_;
  VI first_normal_;
  VI largest_;
  VU overflow_;
  VF push_;
  VF factor_;
};

/// Stochastic, where all of the format's normal range is normal in FP32 too.
class FastStochasticCast {
 public:
  static constexpr bool kDraws = true;

  HWY_INLINE FastStochasticCast(const numerics::FloatLayout& to, int shift, bool saturate)
      : code_of_(to, saturate),
        first_normal_(set_int(to.emin - shift + 127)),
        drop_(set_int(23 - to.man_bits)),
        man_bits_(set(static_cast<std::uint32_t>(to.man_bits))) {}

  HWY_INLINE VU operator()(VU bits, VU words) const {
    const VI magnitude = hn::BitCast(I(), magnitude_of(bits));
    // An FP32 subnormal counts like the first binade, without its hidden bit.
    const VI field = hn::Max(hn::ShiftRight<23>(magnitude), set_int(1));
    const VI significand = hn::Sub(magnitude, hn::ShiftLeft<23>(hn::Sub(field, set_int(1))));
    const VI binades = hn::Max(hn::Sub(field, first_normal_), hn::Zero(I()));
    const VI below = hn::Sub(binades, hn::Sub(field, first_normal_));
    const VU rounded = Stochastic::round(hn::BitCast(U(), significand),
                                         hn::BitCast(U(), hn::Add(below, drop_)), words);
    return code_of_.finite(bits, hn::Add(hn::Shl(hn::BitCast(U(), binades), man_bits_), rounded));
  }
  const CodeOf& code_of() const { return code_of_; }

 private:
  CodeOf code_of_;
  VI first_normal_;
  VI drop_;
  VU man_bits_;
};

/// Any rounding, any shift: significands and exponents apart.
template <typename Rounding>
class FullCast {
 public:
  static constexpr bool kDraws = Rounding::kDraws;

  HWY_INLINE FullCast(const numerics::FloatLayout& to, int shift, bool saturate)
      : code_of_(to, saturate),
        shift_(set_int(shift)),
        emin_(set_int(to.emin)),
        // From one binade above the largest on everything overflows alike.
        most_(set_int(to.emax + 1)),
        drop_(set_int(23 - to.man_bits)),
        man_bits_(set(static_cast<std::uint32_t>(to.man_bits))) {}

  HWY_INLINE VU operator()(VU bits, VU words) const {
    const VU magnitude = magnitude_of(bits);
    const VI as_int = hn::BitCast(I(), magnitude);
    // An FP32 subnormal counts 2^-149; as a number of its own it is normal.
    const auto is_subnormal = hn::Lt(as_int, set_int(0x800000));
    const VU counted = bits_of(hn::ConvertTo(F(), as_int));
    const VU normal = hn::IfThenElse(hn::RebindMask(U(), is_subnormal), counted, magnitude);
    const VI offset = hn::IfThenElse(is_subnormal, set_int(127 + 149), set_int(127));
    const VU significand = hn::Or(hn::And(normal, set(0x7fffffu)), set(0x800000u));

    const VI exponent = hn::Min(
        hn::Add(hn::Sub(hn::BitCast(I(), hn::ShiftRight<23>(normal)), offset), shift_), most_);
    const VI below = hn::Max(hn::Sub(emin_, exponent), hn::Zero(I()));
    const VU rounded = Rounding::round(significand, hn::BitCast(U(), hn::Add(below, drop_)), words);
    const VU binades = hn::BitCast(U(), hn::Add(hn::Sub(exponent, emin_), below));
    const VU code = hn::Add(hn::Shl(binades, man_bits_), rounded);
    return code_of_.finite(bits, hn::IfThenElseZero(hn::Ne(magnitude, hn::Zero(U())), code));
  }
  const CodeOf& code_of() const { return code_of_; }

 private:
  CodeOf code_of_;
  VI shift_;
  VI emin_;
  VI most_;
  VI drop_;
  VU man_bits_;
};

/// Calls `work` with the cast that a call asks for.
template <typename Work>
HWY_INLINE void with_cast(const numerics::FloatLayout& to, int shift, bool saturate,
                          bool stochastic, const Work& work) {
  const bool fast = FastCast::takes(to, shift);
  if (stochastic && fast) {
    work(FastStochasticCast(to, shift, saturate));
  } else if (stochastic) {
    work(FullCast<Stochastic>(to, shift, saturate));
  } else if (fast) {
    work(FastCast(to, shift, saturate));
  } else {
    work(FullCast<NearestEven>(to, shift, saturate));
  }
}

/// The FP32 value of a code: its magnitude moved to where FP32 has it, and for subnormals the
/// hidden bit, which they lack, set and taken away again.
class ValueOf {
 public:
  explicit HWY_INLINE ValueOf(const numerics::FloatLayout& from)
      : magnitude_(set((1u << from.sign_position) - 1u)),
        sign_shift_(set(static_cast<std::uint32_t>(31 - from.sign_position))),
        up_(set(static_cast<std::uint32_t>(23 - from.man_bits))),
        offset_(set(static_cast<std::uint32_t>(127 - from.bias) << 23)),
        hidden_(set(static_cast<std::uint32_t>(127 + from.emin) << 23)),
        last_finite_(set_int(static_cast<int>(from.non_finite) - 1)),
        infinity_(from.has_infinity ? set(from.non_finite) : set(0xffffffffu)) {}

  HWY_INLINE VF operator()(VU code) const {
    const VU moved = hn::Shl(hn::And(code, magnitude_), up_);
    const VU normal = hn::Add(moved, offset_);
    const VU subnormal = bits_of(hn::Sub(float_of(hn::Or(moved, hidden_)), float_of(hidden_)));
    const auto is_subnormal = hn::Lt(hn::BitCast(I(), moved), set_int(0x800000));
    return float_of(hn::Or(hn::IfThenElse(hn::RebindMask(U(), is_subnormal), subnormal, normal),
                           sign_of(code)));
  }

  HWY_INLINE VU magnitude(VU code) const { return hn::And(code, magnitude_); }
  /// Whether magnitudes are those of Inf or NaN.
  HWY_INLINE hn::Mask<I> is_special(VU magnitude) const {
    return hn::Gt(hn::BitCast(I(), magnitude), last_finite_);
  }
  /// The values of finite codes with those of other codes put in.
  HWY_INLINE VF any(VU code, VF value) const {
    const VU infinity = hn::Or(sign_of(code), set(numerics::kInfinity));
    const VU instead =
        hn::IfThenElse(hn::Eq(magnitude(code), infinity_), infinity, set(numerics::kQuietNan));
    const auto special = hn::RebindMask(F(), is_special(magnitude(code)));
    return hn::IfThenElse(special, float_of(instead), value);
  }

 private:
  HWY_INLINE VU sign_of(VU code) const {
    return hn::And(hn::Shl(code, sign_shift_), set(0x80000000u));
  }

  VU magnitude_;
  VU sign_shift_;
  VU up_;
  VU offset_;
  VU hidden_;
  VI last_finite_;
  VU infinity_;
};

}  // namespace cpdcomm::codec::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

#endif
