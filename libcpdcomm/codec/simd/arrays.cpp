// Arithmetic on whole arrays, for every instruction set.
#include "codec/arrays.hpp"

#include "codec/simd/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/simd/arrays.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "codec/simd/largest-inl.hpp"
#include "codec/simd/random-inl.hpp"
#include "numerics/shared_exponent.hpp"

HWY_BEFORE_NAMESPACE();
namespace cpdcomm::codec::simd::HWY_NAMESPACE {

#if CPDCOMM_PLAIN_TARGET

std::uint32_t largest_bits(const float* in, std::size_t count) {
  return plain::largest_bits(in, count);
}
void add(float* sum, const float* part, std::size_t count) { plain::add(sum, part, count); }
void scale(const float* in, std::size_t count, int shift, float* out) {
  plain::scale(in, count, shift, out);
}
bool finish(const float* in, std::size_t count, int shift, float divisor, float* out) {
  return plain::finish(in, count, shift, divisor, out);
}
void cast_error(const float* values, const float* cast, std::size_t count, int shift,
                float* error) {
  plain::cast_error(values, cast, count, shift, error);
}
void random_words(const RandomStream& stream, std::size_t count, std::uint32_t* out) {
  plain::random_words(stream, count, out);
}

#else

namespace hn = hwy::HWY_NAMESPACE;

std::uint32_t largest_bits(const float* in, std::size_t count) {
  return largest_magnitude(in, count);
}

void add(float* sum, const float* part, std::size_t count) {
  const F d;
  std::size_t i = 0;
  for (; i + hn::Lanes(d) <= count; i += hn::Lanes(d)) {
    hn::StoreU(hn::Add(hn::LoadU(d, sum + i), hn::LoadU(d, part + i)), d, sum + i);
  }
  plain::add(sum + i, part + i, count - i);
}

// What a vector is multiplied by or divided by: nothing costs nothing.

struct Unchanged {
  HWY_INLINE VF operator()(VF x) const { return x; }
};

struct TimesOnce {
  VF factor;
  HWY_INLINE VF operator()(VF x) const { return hn::Mul(x, factor); }
};

struct TimesTwice {
  VF first;
  VF second;
  HWY_INLINE VF operator()(VF x) const { return hn::Mul(hn::Mul(x, first), second); }
};

struct DividedBy {
  VF divisor;
  HWY_INLINE VF operator()(VF x) const { return hn::Div(x, divisor); }
};

HWY_INLINE VF splat(float x) { return hn::Set(F(), x); }

/// Calls work(product by 2^shift), which rounds once. Where FP32 has no such factor it takes two
/// steps: what the first step of a small factor rounds is zero after the second.
/// @return what `work` returns: how many values it did; 0 where no two factors do
template <typename Work>
HWY_INLINE std::size_t with_power_of_two(int shift, const Work& work) {
  if (shift == 0) return work(Unchanged{});
  if (-126 <= shift && shift <= 127) return work(TimesOnce{splat(numerics::power_of_two(shift))});
  if (shift < -252 || shift > 254) return 0;
  const int half = shift / 2;
  return work(
      TimesTwice{splat(numerics::power_of_two(half)), splat(numerics::power_of_two(shift - half))});
}

/// Calls work(division). By a power of two it is a product, with the same bits where the reciprocal
/// is a normal number.
template <typename Work>
HWY_INLINE std::size_t with_divisor(float divisor, const Work& work) {
  if (divisor == 1.0f) return work(Unchanged{});
  const bool is_power = (numerics::bits_of(divisor) & 0x007fffffu) == 0;
  if (is_power && 0x1p-126f <= divisor && divisor <= 0x1p126f) {
    return work(TimesOnce{splat(1.0f / divisor)});
  }
  return work(DividedBy{splat(divisor)});
}

void scale(const float* in, std::size_t count, int shift, float* out) {
  const F d;
  const std::size_t done = with_power_of_two(shift, [&](auto product) HWY_ATTR {
    std::size_t i = 0;
    for (; i + hn::Lanes(d) <= count; i += hn::Lanes(d)) {
      hn::StoreU(product(hn::LoadU(d, in + i)), d, out + i);
    }
    return i;
  });
  plain::scale(in + done, count - done, shift, out + done);
}

/// Whole vectors of `finish`; returns how many values they hold.
template <typename Product, typename Division>
HWY_INLINE std::size_t finish_vectors(const float* in, std::size_t count, Product product,
                                      Division division, float* out, VU& largest) {
  const F d;
  const VF nan = float_of(set(numerics::kQuietNan));
  std::size_t i = 0;
  for (; i + hn::Lanes(d) <= count; i += hn::Lanes(d)) {
    const VF value = division(product(hn::LoadU(d, in + i)));
    const VU magnitude = magnitude_of(bits_of(value));
    largest = hn::Max(largest, magnitude);
    const auto is_nan =
        hn::Gt(hn::BitCast(I(), magnitude), set_int(static_cast<int>(numerics::kInfinity)));
    hn::StoreU(hn::IfThenElse(hn::RebindMask(d, is_nan), nan, value), d, out + i);
  }
  return i;
}

bool finish(const float* in, std::size_t count, int shift, float divisor, float* out) {
  VU largest = hn::Zero(U());
  const std::size_t done = with_power_of_two(-shift, [&](auto product) HWY_ATTR {
    return with_divisor(divisor, [&](auto division) HWY_ATTR {
      return finish_vectors(in, count, product, division, out, largest);
    });
  });
  const bool rest = plain::finish(in + done, count - done, shift, divisor, out + done);
  return rest || largest_lane(largest) >= numerics::kInfinity;
}

void cast_error(const float* values, const float* cast, std::size_t count, int shift,
                float* error) {
  const F d;
  const std::size_t done = with_power_of_two(-shift, [&](auto product) HWY_ATTR {
    std::size_t i = 0;
    for (; i + hn::Lanes(d) <= count; i += hn::Lanes(d)) {
      const VF lost = hn::Sub(hn::LoadU(d, values + i), product(hn::LoadU(d, cast + i)));
      const auto special = hn::RebindMask(d, is_special(magnitude_of(bits_of(lost))));
      hn::StoreU(hn::IfThenElse(special, hn::LoadU(d, error + i), lost), d, error + i);
    }
    return i;
  });
  plain::cast_error(values + done, cast + done, count - done, shift, error + done);
}

void random_words(const RandomStream& stream, std::size_t count, std::uint32_t* out) {
  Buffer<std::uint32_t> room;
  for (std::size_t first = 0; first < count; first += kTile) {
    const std::size_t size = std::min(kTile, count - first);
    const std::uint32_t* const words = fill_words(stream, stream.first + first, size, room.at);
    std::copy_n(words, size, out + first);
  }
}

#endif

}  // namespace cpdcomm::codec::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cpdcomm::codec {
namespace simd {
HWY_EXPORT(largest_bits);
HWY_EXPORT(add);
HWY_EXPORT(scale);
HWY_EXPORT(finish);
HWY_EXPORT(cast_error);
HWY_EXPORT(random_words);
}  // namespace simd

std::uint32_t largest_bits(const float* in, std::size_t count) {
  using namespace simd;
  return HWY_DYNAMIC_DISPATCH(largest_bits)(in, count);
}
void add(float* sum, const float* part, std::size_t count) {
  using namespace simd;
  HWY_DYNAMIC_DISPATCH(add)(sum, part, count);
}
void scale(const float* in, std::size_t count, int shift, float* out) {
  using namespace simd;
  HWY_DYNAMIC_DISPATCH(scale)(in, count, shift, out);
}
bool finish(const float* in, std::size_t count, int shift, float divisor, float* out) {
  using namespace simd;
  return HWY_DYNAMIC_DISPATCH(finish)(in, count, shift, divisor, out);
}
void cast_error(const float* values, const float* cast, std::size_t count, int shift,
                float* error) {
  using namespace simd;
  HWY_DYNAMIC_DISPATCH(cast_error)(values, cast, count, shift, error);
}
void random_words(const RandomStream& stream, std::size_t count, std::uint32_t* out) {
  using namespace simd;
  HWY_DYNAMIC_DISPATCH(random_words)(stream, count, out);
}

}  // namespace cpdcomm::codec
#endif
