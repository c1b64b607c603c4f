// Philox4x32-10 words of a tile, per target: the same as numerics/random_word.hpp.
#if defined(CPDCOMM_CODEC_SIMD_RANDOM_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef CPDCOMM_CODEC_SIMD_RANDOM_INL_HPP
#undef CPDCOMM_CODEC_SIMD_RANDOM_INL_HPP
#else
#define CPDCOMM_CODEC_SIMD_RANDOM_INL_HPP
#endif

#include <Random123/philox.h>
#include <hwy/highway.h>

#include "codec/simd/tile.hpp"
#include "cpdcomm/codec.hpp"

#if !CPDCOMM_PLAIN_TARGET
HWY_BEFORE_NAMESPACE();
namespace cpdcomm::codec::simd::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

inline constexpr std::uint32_t kPhiloxRounds = 10;

/// A counter in each 64-bit lane; of every number only the lower half counts until the end.
struct Philox {
  using D = hn::ScalableTag<std::uint64_t>;
  using V = hn::Vec<D>;
  using D32 = hn::Repartition<std::uint32_t, D>;

  V c0, c1, c2, c3;

  HWY_INLINE void round(V key0, V key1) {
    const D32 d32;
    const V product0 = hn::MulEven(hn::BitCast(d32, c0), hn::Set(d32, PHILOX_M4x32_0));
    const V product1 = hn::MulEven(hn::BitCast(d32, c2), hn::Set(d32, PHILOX_M4x32_1));
    const V next0 = hn::Xor(hn::Xor(hn::ShiftRight<32>(product1), c1), key0);
    const V next2 = hn::Xor(hn::Xor(hn::ShiftRight<32>(product0), c3), key1);
    c0 = next0;
    c1 = product1;
    c2 = next2;
    c3 = product0;
  }

  /// Word after word of one counter after the other (see `place` in fill_words).
  HWY_INLINE void store(std::uint32_t* out) const {
    const D d;
    const D32 d32;
    const V low_half = hn::Set(d, 0xffffffffu);
    const V first_two = hn::Or(hn::And(c0, low_half), hn::ShiftLeft<32>(c1));
    const V last_two = hn::Or(hn::And(c2, low_half), hn::ShiftLeft<32>(c3));
    hn::StoreU(hn::BitCast(d32, hn::InterleaveLower(d, first_two, last_two)), d32, out);
    hn::StoreU(hn::BitCast(d32, hn::InterleaveUpper(d, first_two, last_two)), d32,
               out + 2 * hn::Lanes(d));
  }
};

/// Words first .. first + count of a stream into `words`, from its index first % 4 on; returns
/// where they begin.
HWY_INLINE const std::uint32_t* fill_words(const RandomStream& stream, std::uint64_t first,
                                           std::size_t count, std::uint32_t* words) {
  const Philox::D d;
  // Lane 2b counts as b, lane 2b+1 as b + half: interleaved below, the counters come in order.
  const std::size_t lanes = hn::Lanes(d);
  const auto lane = hn::Iota(d, 0);
  const auto place = hn::Add(hn::ShiftRight<1>(lane),
                             hn::IfThenElseZero(hn::Eq(hn::And(lane, hn::Set(d, 1)), hn::Set(d, 1)),
                                                hn::Set(d, lanes / 2)));
  const auto phase = hn::Set(d, static_cast<std::uint64_t>(stream.phase) << 16);
  const auto rank = hn::Set(d, stream.rank);
  const auto tensor = hn::Set(d, stream.tensor);
  Philox::V keys[2 * kPhiloxRounds];
  for (std::uint32_t i = 0; i < kPhiloxRounds; ++i) {
    keys[2 * i] = hn::Set(d, static_cast<std::uint32_t>(stream.seed + i * PHILOX_W32_0));
    keys[2 * i + 1] = hn::Set(d, static_cast<std::uint32_t>(stream.step + i * PHILOX_W32_1));
  }
  const auto start = [&](std::uint64_t group) HWY_ATTR {
    const auto counter = hn::Add(hn::Set(d, group), place);
    return Philox{counter, hn::Add(hn::ShiftRight<32>(counter), phase), rank, tensor};
  };
  const std::uint64_t begin = first / 4;
  const std::uint64_t end = (first + count + 3) / 4;
  std::uint32_t* out = words;
  // Two at a time: one waits for its products while the other goes on.
  for (std::uint64_t group = begin; group < end; group += 2 * lanes, out += 8 * lanes) {
    Philox even = start(group);
    Philox odd = start(group + lanes);
#pragma GCC unroll 10
    for (std::uint32_t i = 0; i < kPhiloxRounds; ++i) {
      even.round(keys[2 * i], keys[2 * i + 1]);
      odd.round(keys[2 * i], keys[2 * i + 1]);
    }
    even.store(out);
    odd.store(out + 4 * lanes);
  }
  return words + first % 4;
}

}  // namespace cpdcomm::codec::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

#endif
