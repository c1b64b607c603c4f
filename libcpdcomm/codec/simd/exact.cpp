// The steps of `exact`, for every instruction set.
#include "codec/exact_steps.hpp"

#include "codec/simd/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/simd/exact.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cmath>

#include "codec/simd/blocks-inl.hpp"
#include "numerics/exact.hpp"
#include "numerics/random_word.hpp"

HWY_BEFORE_NAMESPACE();
namespace cpdcomm::codec::simd::HWY_NAMESPACE {

#if CPDCOMM_PLAIN_TARGET

void exact_integers(const Layout& layout, const float* in, std::size_t count,
                    const std::uint32_t* words, const std::optional<RandomStream>& stochastic,
                    std::int32_t* out) {
  plain::exact_integers(layout, in, count, words, stochastic, out);
}
void exact_values(const Layout& layout, const std::int32_t* sums, std::size_t count,
                  const std::uint32_t* words, int up, float* out) {
  plain::exact_values(layout, sums, count, words, up, out);
}
void drop_bits(std::int32_t* sums, std::size_t count, int drop,
               const std::optional<RandomStream>& stochastic) {
  plain::drop_bits(sums, count, drop, stochastic);
}

#else

namespace hn = hwy::HWY_NAMESPACE;

/// The integers of a run of values on one step; goes on to the end of its vector.
template <typename Family>
HWY_INLINE void integer_run(const Family& family, int bits, const float* values,
                            const std::uint32_t* drawn, std::size_t count, std::int32_t* out) {
  const int unused = 32 - bits;
  for (std::size_t i = 0; i < count; i += hn::Lanes(F())) {
    const VU word = Family::kDraws ? hn::LoadU(U(), drawn + i) : hn::Zero(U());
    const VU code = family.code(hn::LoadU(F(), values + i), word);
    const VI top = hn::BitCast(I(), hn::ShiftLeftSame(code, unused));
    hn::StoreU(hn::ShiftRightSame(top, unused), I(), out + i);
  }
}

template <typename Family>
HWY_INLINE void integers_on(const Layout& layout, const float* in, std::size_t count,
                            const std::uint32_t* words,
                            const std::optional<RandomStream>& stochastic, std::int32_t* out) {
  const std::size_t block = layout.block;
  const bool whole = is_whole(block, count);
  Buffer<float> value_room;
  Buffer<std::uint32_t> drawn_room;
  Buffer<std::int32_t> room;
  const float* const values = padded(in, count, count, whole, value_room.at);
  const std::uint32_t* drawn = drawn_room.at;
  if (Family::kDraws) drawn = fill_words(*stochastic, stochastic->first, count, drawn_room.at);
  std::int32_t* const to = whole ? out : room.at;
  Family family(layout);
  for (std::size_t i = 0; i < count; i += block) {
    const float step = exact_step(layout, *words++);
    const std::size_t size = std::min(block, count - i);
    if (numerics::is_non_finite(step)) {
      std::fill_n(to + i, size, 0);
      continue;
    }
    family.encode_on(step);
    integer_run(family, layout.bits, values + i, drawn + i, size, to + i);
  }
  if (!whole) std::memcpy(out, to, count * sizeof *out);
}

void exact_integers(const Layout& layout, const float* in, std::size_t count,
                    const std::uint32_t* words, const std::optional<RandomStream>& stochastic,
                    std::int32_t* out) {
  const bool bfp = layout.format.kind() == Format::Kind::bfp;
  const auto work = stochastic ? (bfp ? integers_on<SharedExponentIntegers<Stochastic>>
                                      : integers_on<LinearIntegers<Stochastic>>)
                               : (bfp ? integers_on<SharedExponentIntegers<NearestEven>>
                                      : integers_on<LinearIntegers<NearestEven>>);
  work(layout, in, count, words, stochastic, out);
}

/// Values of a run of sums on one step, in FP64, where the product is exact.
HWY_INLINE void value_run(const std::int32_t* sums, std::size_t count, double step, float* out) {
  const hn::ScalableTag<double> d64;
  const hn::Rebind<float, decltype(d64)> f32;
  const hn::Rebind<std::int32_t, decltype(d64)> i32;
  const auto factor = hn::Set(d64, step);
  const auto largest = hn::Set(f32, numerics::float_of(numerics::kLargestFinite));
  std::size_t i = 0;
  for (; i + hn::Lanes(d64) <= count; i += hn::Lanes(d64)) {
    const auto product = hn::Mul(hn::PromoteTo(d64, hn::LoadU(i32, sums + i)), factor);
    const auto value = hn::DemoteTo(f32, product);
    hn::StoreU(hn::Min(hn::Max(value, hn::Neg(largest)), largest), f32, out + i);
  }
  for (; i < count; ++i) out[i] = numerics::sum_value(sums[i], step);
}

void exact_values(const Layout& layout, const std::int32_t* sums, std::size_t count,
                  const std::uint32_t* words, int up, float* out) {
  const double factor = std::ldexp(1.0, up);
  for (std::size_t i = 0; i < count; i += layout.block) {
    const float step = exact_step(layout, *words++);
    const std::size_t size = std::min(layout.block, count - i);
    if (numerics::is_non_finite(step)) {
      std::fill_n(out + i, size, numerics::float_of(numerics::kQuietNan));
    } else {
      value_run(sums + i, size, static_cast<double>(step) * factor, out + i);
    }
  }
}

/// With the sign of `sums`.
HWY_INLINE VI with_sign_of(VI sums, VU magnitude) {
  const VI sign = hn::ShiftRight<31>(sums);
  return hn::Sub(hn::Xor(hn::BitCast(I(), magnitude), sign), sign);
}

/// To the nearest, ties to even; of magnitudes below 2^28.
HWY_INLINE VU nearest_without(VU magnitude, int drop) {
  const VU kept = hn::ShiftRightSame(magnitude, drop);
  const VU rest = hn::Sub(magnitude, hn::ShiftLeftSame(kept, drop));
  const VU twice = hn::Add(hn::Add(rest, rest), hn::And(kept, set(1)));
  const auto up = hn::Gt(hn::BitCast(I(), twice), set_int(1 << drop));
  return hn::Add(kept, hn::IfThenElseZero(hn::RebindMask(U(), up), set(1)));
}

void drop_nearest(std::int32_t* sums, std::size_t count, int drop) {
  std::size_t i = 0;
  for (; i + hn::Lanes(I()) <= count; i += hn::Lanes(I())) {
    const VI sum = hn::LoadU(I(), sums + i);
    const VU magnitude = hn::BitCast(U(), hn::Abs(sum));
    hn::StoreU(with_sign_of(sum, nearest_without(magnitude, drop)), I(), sums + i);
  }
  plain::drop_bits(sums + i, count - i, drop, {});
}

void drop_stochastic(std::int32_t* sums, std::size_t count, int drop, const RandomStream& stream) {
  Buffer<std::uint32_t> room;
  const std::uint32_t* const words = fill_words(stream, stream.first, count, room.at);
  const VU by = set(static_cast<std::uint32_t>(drop));
  std::size_t i = 0;
  for (; i + hn::Lanes(I()) <= count; i += hn::Lanes(I())) {
    const VI sum = hn::LoadU(I(), sums + i);
    const VU magnitude = hn::BitCast(U(), hn::Abs(sum));
    const VU rounded = Stochastic::round(magnitude, by, hn::LoadU(U(), words + i));
    hn::StoreU(with_sign_of(sum, rounded), I(), sums + i);
  }
  for (; i < count; ++i) {
    sums[i] = numerics::narrow_sum(sums[i], drop, numerics::Stochastic{words[i]});
  }
}

void drop_bits(std::int32_t* sums, std::size_t count, int drop,
               const std::optional<RandomStream>& stochastic) {
  if (stochastic) {
    drop_stochastic(sums, count, drop, *stochastic);
  } else {
    drop_nearest(sums, count, drop);
  }
}

#endif

}  // namespace cpdcomm::codec::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cpdcomm::codec {
namespace simd {
HWY_EXPORT(exact_integers);
HWY_EXPORT(exact_values);
HWY_EXPORT(drop_bits);
}  // namespace simd

void exact_integers(const Layout& layout, const float* in, std::size_t count,
                    const std::uint32_t* words, const std::optional<RandomStream>& stochastic,
                    std::int32_t* out) {
  using namespace simd;
  HWY_DYNAMIC_DISPATCH(exact_integers)(layout, in, count, words, stochastic, out);
}
void exact_values(const Layout& layout, const std::int32_t* sums, std::size_t count,
                  const std::uint32_t* words, int up, float* out) {
  using namespace simd;
  HWY_DYNAMIC_DISPATCH(exact_values)(layout, sums, count, words, up, out);
}
void drop_bits(std::int32_t* sums, std::size_t count, int drop,
               const std::optional<RandomStream>& stochastic) {
  using namespace simd;
  HWY_DYNAMIC_DISPATCH(drop_bits)(sums, count, drop, stochastic);
}

}  // namespace cpdcomm::codec
#endif
