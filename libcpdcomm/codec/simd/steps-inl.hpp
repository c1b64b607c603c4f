// The families of formats with blocks: codes and values of a block whose scale is known, a vector
// at a time, per target. The arithmetic is that of numerics/shared_exponent.hpp and linear.hpp.
#if defined(CPDCOMM_CODEC_SIMD_STEPS_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef CPDCOMM_CODEC_SIMD_STEPS_INL_HPP
#undef CPDCOMM_CODEC_SIMD_STEPS_INL_HPP
#else
#define CPDCOMM_CODEC_SIMD_STEPS_INL_HPP
#endif

#include <hwy/highway.h>

#include "codec/layout.hpp"
#include "codec/simd/floats-inl.hpp"
#include "codec/simd/largest-inl.hpp"
#include "numerics/linear.hpp"

#if !CPDCOMM_PLAIN_TARGET
HWY_BEFORE_NAMESPACE();
namespace cpdcomm::codec::simd::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Multiplies by 2^exponent, in two steps: its ends are not FP32 numbers, or not normal ones.
/// Exact, but where the result is too large, or so small that every cast makes it 0.
class Scale {
 public:
  HWY_INLINE Scale() : first_(hn::Zero(F())), second_(hn::Zero(F())) {}
  HWY_INLINE void by(int exponent) {
    const int half = exponent / 2;
    first_ = hn::Set(F(), numerics::power_of_two(half));
    second_ = hn::Set(F(), numerics::power_of_two(exponent - half));
  }
  HWY_INLINE VF operator()(VF x) const { return hn::Mul(hn::Mul(x, first_), second_); }

 private:
  VF first_;
  VF second_;
};

/// Integers of at most `most` in magnitude, in the lowest bits of their codes.
template <typename Rounding>
class Integers {
 public:
  explicit HWY_INLINE Integers(const Layout& layout)
      : most_(hn::Set(F(), static_cast<float>(layout.most))),
        least_(hn::Neg(most_)),
        mask_(set((1u << layout.bits) - 1u)),
        unused_(32 - layout.bits) {}

  HWY_INLINE VU code(VF quotient, VU words) const {
    const VF bounded = hn::Min(hn::Max(quotient, least_), most_);
    return hn::And(hn::BitCast(U(), nearest(bounded, words)), mask_);
  }
  HWY_INLINE VF integer(VU code) const {
    const VI top = hn::BitCast(I(), hn::ShiftLeftSame(code, unused_));
    return hn::ConvertTo(F(), hn::ShiftRightSame(top, unused_));
  }

 private:
  static HWY_INLINE VI nearest(VF bounded, VU words) {
    if constexpr (!Rounding::kDraws) return hn::NearestInt(bounded);
    const VU bits = bits_of(bounded);
    const VI magnitude = hn::BitCast(I(), magnitude_of(bits));
    const VI field = hn::Max(hn::ShiftRight<23>(magnitude), set_int(1));
    const VI significand = hn::Sub(magnitude, hn::ShiftLeft<23>(hn::Sub(field, set_int(1))));
    const VU drop = hn::BitCast(U(), hn::Sub(set_int(127 + 23), field));
    const VI rounded =
        hn::BitCast(I(), Rounding::round(hn::BitCast(U(), significand), drop, words));
    const VI sign = hn::ShiftRight<31>(hn::BitCast(I(), bits));
    return hn::Sub(hn::Xor(rounded, sign), sign);
  }

  VF most_;
  VF least_;
  VU mask_;
  int unused_;
};

// A family says how a block's scale comes from its values, as it is stored, and which codes and
// values there are on a step, which codes are multiplied by. Where codes can be special (not
// finite), `value` is of the others.

template <typename Rounding>
class SharedExponentIntegers {
 public:
  using Stored = std::uint8_t;
  static constexpr bool kHasSpecial = false;
  static constexpr bool kDraws = Rounding::kDraws;

  explicit HWY_INLINE SharedExponentIntegers(const Layout& layout) : integers_(layout) {}

  static HWY_INLINE Stored scale(const Layout& /*layout*/, const float* in, std::size_t count) {
    return static_cast<Stored>(numerics::bfp_exponent(largest_magnitude(in, count)));
  }
  static HWY_INLINE float step(const Layout& layout, Stored scale) {
    return numerics::bfp_step(scale, layout.bits - 1);
  }
  HWY_INLINE void encode_on(float step) { count_units(numerics::exponent_of(step)); }
  HWY_INLINE void decode_on(float step) { scale_units(numerics::exponent_of(step)); }
  HWY_INLINE VU code(VF x, VU words) const { return integers_.code(down_(x), words); }
  HWY_INLINE VF value(VU code) const { return up_(integers_.integer(code)); }

 protected:
  HWY_INLINE void count_units(int exponent) { down_.by(-exponent); }
  HWY_INLINE void scale_units(int exponent) { up_.by(exponent); }

 private:
  Integers<Rounding> integers_;
  Scale down_;
  Scale up_;
};

/// How the scale of a microscaling block comes from its values.
struct MicroscalingScale {
  using Stored = std::uint8_t;
  static HWY_INLINE Stored scale(const Layout& layout, const float* in, std::size_t count) {
    return static_cast<Stored>(
        numerics::mx_exponent(largest_magnitude(in, count), layout.mx_emax()));
  }
  static HWY_INLINE float step(const Layout& /*layout*/, Stored scale) {
    return numerics::mx_scale(scale);
  }
};

/// mxint8
template <typename Rounding>
class MicroscaledIntegers : public SharedExponentIntegers<Rounding>, public MicroscalingScale {
  using Base = SharedExponentIntegers<Rounding>;

 public:
  using MicroscalingScale::scale;
  using MicroscalingScale::step;
  using MicroscalingScale::Stored;

  explicit HWY_INLINE MicroscaledIntegers(const Layout& layout) : Base(layout) {}

  HWY_INLINE void encode_on(float step) { this->count_units(unit_exponent(step)); }
  HWY_INLINE void decode_on(float step) { this->scale_units(unit_exponent(step)); }

 private:
  static HWY_INLINE int unit_exponent(float step) {
    return numerics::exponent_of(step) - numerics::kMxIntFraction;
  }
};

/// The microscaling formats whose elements are floats.
template <typename Rounding>
class MicroscaledFloats : public MicroscalingScale {
 public:
  static constexpr bool kDraws = Rounding::kDraws;
  using Cast = std::conditional_t<kDraws, FastStochasticCast, FastCast>;

  explicit HWY_INLINE MicroscaledFloats(const Layout& layout)
      : cast_(layout.floats, 0, true), value_of_(layout.floats), down_(hn::Zero(F())) {}

  HWY_INLINE void encode_on(float step) {
    down_ = hn::Set(F(), numerics::power_of_two(-numerics::exponent_of(step)));
  }
  HWY_INLINE void decode_on(float step) { up_.by(numerics::exponent_of(step)); }
  HWY_INLINE VU code(VF x, VU words) const {
    // Values are finite, so an Inf here is one that the scale made: it saturates.
    return cast_(bits_of(hn::Mul(x, down_)), words);
  }
  HWY_INLINE VF value(VU code) const { return up_(value_of_(code)); }

  static constexpr bool kHasSpecial = true;
  HWY_INLINE bool has_special(VU code) const {
    return !hn::AllFalse(I(), value_of_.is_special(value_of_.magnitude(code)));
  }
  HWY_INLINE VF any_value(VU code) const { return up_(value_of_.any(code, value_of_(code))); }

 private:
  Cast cast_;
  ValueOf value_of_;
  VF down_;
  Scale up_;
};

template <typename Rounding>
class LinearIntegers {
 public:
  using Stored = float;
  static constexpr bool kHasSpecial = false;
  static constexpr bool kDraws = Rounding::kDraws;

  explicit HWY_INLINE LinearIntegers(const Layout& layout)
      : integers_(layout),
        largest_(hn::Set(F(), numerics::float_of(numerics::kLargestFinite))),
        step_(hn::Zero(F())),
        divisor_(hn::Zero(F())) {}

  static HWY_INLINE Stored scale(const Layout& layout, const float* in, std::size_t count) {
    return numerics::linear_scale(largest_magnitude(in, count), layout.bits - 1);
  }
  static HWY_INLINE float step(const Layout& /*layout*/, Stored scale) { return scale; }
  HWY_INLINE void encode_on(float step) {
    // On a scale of 0 all integers are 0.
    divisor_ = hn::Set(F(), step == 0.0f ? HUGE_VALF : step);
  }
  HWY_INLINE void decode_on(float step) { step_ = hn::Set(F(), step); }
  HWY_INLINE VU code(VF x, VU words) const { return integers_.code(hn::Div(x, divisor_), words); }
  HWY_INLINE VF value(VU code) const {
    const VF value = hn::Mul(integers_.integer(code), step_);
    return hn::Min(hn::Max(value, hn::Neg(largest_)), largest_);
  }

 private:
  Integers<Rounding> integers_;
  VF largest_;
  VF step_;
  VF divisor_;
};

template <typename Rounding>
class Signs {
 public:
  using Stored = float;
  static constexpr bool kHasSpecial = false;
  static constexpr bool kDraws = false;

  explicit HWY_INLINE Signs(const Layout& /*layout*/) : step_(hn::Zero(U())) {}

  static HWY_INLINE Stored scale(const Layout& /*layout*/, const float* in, std::size_t count) {
    return mean_magnitude(in, count);
  }
  static HWY_INLINE float step(const Layout& /*layout*/, Stored scale) { return scale; }
  HWY_INLINE void encode_on(float /*step*/) {}
  HWY_INLINE void decode_on(float step) { step_ = set(numerics::bits_of(step)); }
  HWY_INLINE VU code(VF x, VU /*words*/) const { return hn::ShiftRight<31>(bits_of(x)); }
  HWY_INLINE VF value(VU code) const { return float_of(hn::Xor(step_, hn::ShiftLeft<31>(code))); }

 private:
  VU step_;
};

}  // namespace cpdcomm::codec::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

#endif
