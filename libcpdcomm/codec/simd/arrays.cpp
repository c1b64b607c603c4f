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

/// Whether 2^shift is a normal number, so that one product by it is rounded once.
HWY_INLINE bool is_factor(int shift) { return -126 <= shift && shift <= 127; }

void scale(const float* in, std::size_t count, int shift, float* out) {
  std::size_t i = 0;
  if (is_factor(shift)) {
    const F d;
    const VF factor = hn::Set(d, numerics::power_of_two(shift));
    for (; i + hn::Lanes(d) <= count; i += hn::Lanes(d)) {
      hn::StoreU(hn::Mul(hn::LoadU(d, in + i), factor), d, out + i);
    }
  }
  plain::scale(in + i, count - i, shift, out + i);
}

/// Whether to divide is to multiply by a reciprocal that is a normal number: the same bits.
HWY_INLINE bool has_exact_reciprocal(float divisor) {
  const bool is_power = (numerics::bits_of(divisor) & 0x007fffffu) == 0;
  return is_power && 0x1p-126f <= divisor && divisor <= 0x1p126f;
}

/// Whole vectors of `finish`; returns how many values they hold.
template <typename Divide>
HWY_INLINE std::size_t finish_vectors(const float* in, std::size_t count, int shift,
                                      const Divide& divide, float* out, VU& largest) {
  const F d;
  const VF factor = hn::Set(d, numerics::power_of_two(-shift));
  const VF nan = float_of(set(numerics::kQuietNan));
  std::size_t i = 0;
  for (; i + hn::Lanes(d) <= count; i += hn::Lanes(d)) {
    const VF value = divide(hn::Mul(hn::LoadU(d, in + i), factor));
    const VU magnitude = magnitude_of(bits_of(value));
    largest = hn::Max(largest, magnitude);
    const auto is_nan =
        hn::Gt(hn::BitCast(I(), magnitude), set_int(static_cast<int>(numerics::kInfinity)));
    hn::StoreU(hn::IfThenElse(hn::RebindMask(d, is_nan), nan, value), d, out + i);
  }
  return i;
}

bool finish(const float* in, std::size_t count, int shift, float divisor, float* out) {
  const F d;
  std::size_t i = 0;
  VU largest = hn::Zero(U());
  if (is_factor(-shift) && has_exact_reciprocal(divisor)) {
    const VF by = hn::Set(d, 1.0f / divisor);
    const auto divide = [&](VF value) HWY_ATTR { return hn::Mul(value, by); };
    i = finish_vectors(in, count, shift, divide, out, largest);
  } else if (is_factor(-shift)) {
    const VF by = hn::Set(d, divisor);
    const auto divide = [&](VF value) HWY_ATTR { return hn::Div(value, by); };
    i = finish_vectors(in, count, shift, divide, out, largest);
  }
  const bool rest = plain::finish(in + i, count - i, shift, divisor, out + i);
  return rest || largest_lane(largest) >= numerics::kInfinity;
}

void cast_error(const float* values, const float* cast, std::size_t count, int shift,
                float* error) {
  std::size_t i = 0;
  if (is_factor(-shift)) {
    const F d;
    const VF factor = hn::Set(d, numerics::power_of_two(-shift));
    for (; i + hn::Lanes(d) <= count; i += hn::Lanes(d)) {
      const VF back = hn::Mul(hn::LoadU(d, cast + i), factor);
      const VF lost = hn::Sub(hn::LoadU(d, values + i), back);
      const auto special = hn::RebindMask(d, is_special(magnitude_of(bits_of(lost))));
      hn::StoreU(hn::IfThenElse(special, hn::LoadU(d, error + i), lost), d, error + i);
    }
  }
  plain::cast_error(values + i, cast + i, count - i, shift, error + i);
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
