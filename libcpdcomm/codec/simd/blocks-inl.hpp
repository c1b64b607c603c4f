// The kernels of the formats with blocks, per target, of any family of steps-inl.hpp.
#if defined(CPDCOMM_CODEC_SIMD_BLOCKS_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef CPDCOMM_CODEC_SIMD_BLOCKS_INL_HPP
#undef CPDCOMM_CODEC_SIMD_BLOCKS_INL_HPP
#else
#define CPDCOMM_CODEC_SIMD_BLOCKS_INL_HPP
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "codec/kernels.hpp"
#include "codec/simd/steps-inl.hpp"
#include "codec/simd/tiles-inl.hpp"

#if !CPDCOMM_PLAIN_TARGET
HWY_BEFORE_NAMESPACE();
namespace cpdcomm::codec::simd::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Whether runs end with their vectors.
HWY_INLINE bool is_whole(std::size_t block, std::size_t count) {
  return block % hn::Lanes(F()) == 0 && count % hn::Lanes(F()) == 0;
}

/// Calls `work(first, size)` for tiles that hold whole blocks, or lie in one.
/// @param offset  where in a block the first value lies
template <typename Work>
HWY_INLINE void for_tiles(std::size_t count, std::size_t block, std::size_t offset,
                          const Work& work) {
  const std::size_t most = block <= kTile ? kTile / block * block : kTile;
  for (std::size_t first = 0; first < count;) {
    const std::size_t in_block = (offset + first) % block;
    std::size_t size = std::min(most, count - first);
    if (block > kTile || in_block != 0) size = std::min(size, block - in_block);
    work(first, size);
    first += size;
  }
}

// The kernels below work on a copy of the family for each tile: what is stored through pointers to
// bytes could change one in memory, but not one in registers.

/// The codes of a run, up to a multiple of 8 of them; loops run on to the end of their vector.
template <typename Family, typename Code>
HWY_INLINE void cast_run(const Family& family, bool nan, const float* values,
                         const std::uint32_t* words, std::size_t count, Code* codes) {
  const std::size_t end = (count + 7) / 8 * 8;
  if (nan) {
    std::memset(codes, 0, end * sizeof(Code));
    return;
  }
  const auto cast = [&](std::size_t i) HWY_ATTR {
    return family.code(hn::LoadU(F(), values + i),
                       Family::kDraws ? hn::LoadU(U(), words + i) : hn::Zero(U()));
  };
  const std::size_t lanes = hn::Lanes(F());
  std::size_t i = 0;
  for (; i + group_size<Code>() <= end; i += group_size<Code>()) {
    VU group[kGroup<Code>];
#pragma GCC unroll 4
    for (int k = 0; k < kGroup<Code>; ++k) group[k] = cast(i + static_cast<std::size_t>(k) * lanes);
    store_codes(group, codes + i);
  }
  for (; i < end; i += lanes) store_vector(cast(i), codes + i);
}

/// The values of a run's codes.
template <typename To, typename Family, typename Code>
HWY_INLINE void value_run(const Family& family, bool nan, const Code* codes, std::size_t count,
                          float* values) {
  if (HWY_UNLIKELY(nan)) {
    const VF no_number = float_of(set(numerics::kQuietNan));
    for (std::size_t i = 0; i < count; i += hn::Lanes(F())) To::store(no_number, values + i);
    return;
  }
  for (std::size_t i = 0; i < count; i += hn::Lanes(F())) {
    const VU code = load_codes(codes + i);
    VF value = family.value(code);
    if constexpr (Family::kHasSpecial) {
      if (HWY_UNLIKELY(family.has_special(code))) value = family.any_value(code);
    }
    To::store(value, values + i);
  }
}

/// The rounded values of a run.
template <typename Family>
HWY_INLINE void round_run(const Family& family, bool nan, const float* values,
                          const std::uint32_t* words, std::size_t count, float* out) {
  if (nan) {
    std::fill_n(out, count, numerics::float_of(numerics::kQuietNan));
    return;
  }
  for (std::size_t i = 0; i < count; i += hn::Lanes(F())) {
    const VU drawn = Family::kDraws ? hn::LoadU(U(), words + i) : hn::Zero(U());
    hn::StoreU(family.value(family.code(hn::LoadU(F(), values + i), drawn)), F(), out + i);
  }
}

/// The random words of a tile, where the family draws any.
template <typename Family>
HWY_INLINE const std::uint32_t* words_of(const CastOptions& options, std::size_t first,
                                         std::size_t count, std::uint32_t* room) {
  if (!Family::kDraws) return room;
  return fill_words(*options.stochastic, options.stochastic->first + first, count, room);
}

/// The scale of a block's values, and what codes are multiplied by.
template <typename Family>
HWY_INLINE typename Family::Stored derive(const Layout& layout, const float* in, std::size_t count,
                                          float& step) {
  const typename Family::Stored stored = Family::scale(layout, in, count);
  step = Family::step(layout, stored);
  return stored;
}

template <typename Family>
HWY_INLINE void on(Family& family, float step) {
  if (numerics::is_non_finite(step)) return;
  family.encode_on(step);
  family.decode_on(step);
}

template <typename Family>
void encode(const Layout& layout, const float* in, std::size_t count, const CastOptions& options,
            Place place) {
  using Stored = typename Family::Stored;
  std::byte* const out = place.codes(layout);
  const bool streamed = is_streamed(layout.code_bytes(count));
  std::byte* stored = place.scales(layout);
  const std::size_t block = layout.block;
  const Family family(layout);
  float step = 0;
  with_code_type(layout.bits, [&]<typename Code>(Code*) HWY_ATTR {
    Buffer<float> room;
    Buffer<std::uint32_t> word_room;
    Buffer<Code> codes;
    for_tiles(count, block, 0, [&](std::size_t first, std::size_t size) HWY_ATTR {
      const float* values = padded(in + first, size, count - first, is_whole(block, size), room.at);
      const std::uint32_t* words = words_of<Family>(options, first, size, word_room.at);
      const bool begins = first % block == 0;  // else a large block goes on
      Family used = family;
      if (!begins && !numerics::is_non_finite(step)) used.encode_on(step);
      for (std::size_t i = 0; i < size; i += block) {
        if (i != 0 || begins) {
          const Stored scale =
              derive<Family>(layout, in + first + i, std::min(block, count - first - i), step);
          std::memcpy(stored, &scale, sizeof scale);
          stored += sizeof scale;
          if (!numerics::is_non_finite(step)) used.encode_on(step);
        }
        cast_run(used, numerics::is_non_finite(step), values + i, words + i,
                 std::min(block, size - i), codes.at + i);
      }
      write_codes(codes.at, size, layout.bits, out + layout.code_bytes(first), streamed);
    });
  });
  if (streamed) hwy::FlushStream();
}

template <typename Family, typename Put>
void decode(const Layout& layout, ConstPlace place, std::size_t count, float* out) {
  using Stored = typename Family::Stored;
  const std::byte* const in = place.codes(layout);
  const std::byte* const stored = place.bytes + layout.code_bytes(place.of);
  const std::size_t block = layout.block;
  const bool streamed = !Put::kAdds && is_streamed(count * sizeof(float));
  const Family family(layout);
  with_code_type(layout.bits, [&]<typename Code>(Code*) HWY_ATTR {
    Buffer<Code> codes;
    Buffer<float> room;
    for_tiles(count, block, place.first % block, [&](std::size_t first, std::size_t size) HWY_ATTR {
      read_codes(in + layout.code_bytes(first), size, layout.bits, codes.at);
      const std::byte* at = stored + (place.first + first) / block * sizeof(Stored);
      put_tile<Put>(size, out + first, is_whole(block, size), streamed, room.at,
                    [&]<typename To>(To, float* to) HWY_ATTR {
                      Family used = family;
                      for (std::size_t i = 0; i < size; i += block, at += sizeof(Stored)) {
                        Stored scale;
                        std::memcpy(&scale, at, sizeof scale);
                        const float step = Family::step(layout, scale);
                        if (!numerics::is_non_finite(step)) used.decode_on(step);
                        value_run<To>(used, numerics::is_non_finite(step), codes.at + i,
                                      std::min(block, size - i), to + i);
                      }
                    });
    });
  });
  if (streamed) hwy::FlushStream();
}

template <typename Family>
void round(const Layout& layout, const float* in, std::size_t count, const CastOptions& options,
           float* out) {
  const std::size_t block = layout.block;
  const bool streamed = is_streamed(count * sizeof(float)) && out != in;
  const Family family(layout);
  float step = 0;
  Buffer<float> room;
  Buffer<float> rounded;
  Buffer<std::uint32_t> word_room;
  for_tiles(count, block, 0, [&](std::size_t first, std::size_t size) HWY_ATTR {
    const float* values = padded(in + first, size, count - first, is_whole(block, size), room.at);
    const std::uint32_t* words = words_of<Family>(options, first, size, word_room.at);
    const bool begins = first % block == 0;
    put_tile<Overwrite>(size, out + first, is_whole(block, size), streamed, rounded.at,
                        [&](Overwrite, float* to) HWY_ATTR {
                          Family used = family;
                          if (!begins) on(used, step);
                          for (std::size_t i = 0; i < size; i += block) {
                            if (i != 0 || begins) {
                              derive<Family>(layout, in + first + i,
                                             std::min(block, count - first - i), step);
                              on(used, step);
                            }
                            round_run(used, numerics::is_non_finite(step), values + i, words + i,
                                      std::min(block, size - i), to + i);
                          }
                        });
  });
  if (streamed) hwy::FlushStream();
}

template <typename Family>
void round_on(const Layout& layout, const float* in, std::size_t count, float step,
              const CastOptions& options, float* out) {
  Family family(layout);
  on(family, step);
  Buffer<float> room;
  Buffer<float> rounded;
  Buffer<std::uint32_t> word_room;
  for (std::size_t first = 0; first < count; first += kTile) {
    const std::size_t size = std::min(kTile, count - first);
    const float* values = padded(in + first, size, count - first, true, room.at);
    const std::uint32_t* words = words_of<Family>(options, first, size, word_room.at);
    round_run(family, numerics::is_non_finite(step), values, words, size, rounded.at);
    Overwrite::put(rounded.at, size, out + first);
  }
}

// A call says how to round: one kernel for both.

template <template <typename> typename Family>
void encode_either(const Layout& layout, const float* in, std::size_t count,
                   const CastOptions& options, Place place) {
  const auto work = options.stochastic ? encode<Family<Stochastic>> : encode<Family<NearestEven>>;
  work(layout, in, count, options, place);
}

template <template <typename> typename Family>
void round_either(const Layout& layout, const float* in, std::size_t count,
                  const CastOptions& options, float* out) {
  const auto work = options.stochastic ? round<Family<Stochastic>> : round<Family<NearestEven>>;
  work(layout, in, count, options, out);
}

template <template <typename> typename Family>
void round_on_either(const Layout& layout, const float* in, std::size_t count, float step,
                     const CastOptions& options, float* out) {
  const auto work =
      options.stochastic ? round_on<Family<Stochastic>> : round_on<Family<NearestEven>>;
  work(layout, in, count, step, options, out);
}

template <template <typename> typename Family>
constexpr Kernels kKernels{encode_either<Family>, decode<Family<NearestEven>, Overwrite>,
                           decode<Family<NearestEven>, Accumulate>, round_either<Family>,
                           round_on_either<Family>};

}  // namespace cpdcomm::codec::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

#endif
