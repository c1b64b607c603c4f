// eXmY and the fn variants, for every instruction set.
#include "codec/simd/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/simd/floats.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "codec/kernels.hpp"
#include "codec/simd/tiles-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace cpdcomm::codec::simd::HWY_NAMESPACE {
#if CPDCOMM_PLAIN_TARGET

const Kernels& float_kernels() { return plain::kFloats; }

#else

namespace {
namespace hn = hwy::HWY_NAMESPACE;

// Of what is done to each group of vectors: a call would cost as much.
#undef CPDCOMM_INLINE_LAMBDA
#define CPDCOMM_INLINE_LAMBDA HWY_ATTR __attribute__((always_inline))

/// Calls `work(tile, values, words)` for each tile: its first value, its values and their random
/// words.
template <typename Work>
HWY_INLINE void for_tiles(const float* in, std::size_t count, const CastOptions& cast,
                          const Work& work) {
  Buffer<float> room;
  Buffer<std::uint32_t> words;
  for (std::size_t first = 0; first < count; first += kTile) {
    const std::size_t size = std::min(kTile, count - first);
    const std::uint32_t* drawn = words.at;
    if (cast.stochastic) {
      drawn = fill_words(*cast.stochastic, cast.stochastic->first + first, size, words.at);
    }
    work(first, size, padded(in + first, size, count - first, true, room.at), drawn);
  }
}

void encode(const Layout& layout, const float* in, std::size_t count, const CastOptions& options,
            Place place) {
  std::byte* const out = place.codes(layout);
  const bool streamed = is_streamed(layout.code_bytes(count));
  with_code_type(layout.bits, [&]<typename Code>(Code*) HWY_ATTR {
    with_cast(layout.floats, options.shift, options.saturate, options.stochastic.has_value(),
              [&]<typename Cast>(Cast cast) HWY_ATTR {
                Buffer<Code> codes;
                for_tiles(in, count, options,
                          [&](std::size_t first, std::size_t size, const float* values,
                              const std::uint32_t* words) HWY_ATTR {
                            for (std::size_t i = 0; i < size; i += group_size<Code>()) {
                              VU group[kGroup<Code>];
                              cast_group<Code>(cast, values + i, words + i, group);
                              store_codes(group, codes.at + i);
                            }
                            write_codes(codes.at, size, layout.bits, out + layout.code_bytes(first),
                                        streamed);
                          });
              });
  });
  if (streamed) hwy::FlushStream();
}

template <typename Put>
void decode(const Layout& layout, ConstPlace place, std::size_t count, float* out) {
  constexpr int kVectors = 2;
  const std::byte* const in = place.codes(layout);
  const ValueOf value_of(layout.floats);
  const std::size_t lanes = hn::Lanes(F());
  const std::size_t step = kVectors * lanes;
  const bool streamed = !Put::kAdds && is_streamed(count * sizeof(float));
  with_code_type(layout.bits, [&]<typename Code>(Code*) HWY_ATTR {
    Buffer<Code> codes;
    Buffer<float> room;
    for (std::size_t first = 0; first < count; first += kTile) {
      const std::size_t size = std::min(kTile, count - first);
      read_codes(in + layout.code_bytes(first), size, layout.bits, codes.at);
      put_tile<Put>(size, out + first, size % step == 0, streamed, room.at,
                    [&]<typename To>(To, float* to) HWY_ATTR {
                      for (std::size_t i = 0; i < size; i += step) {
                        const VU group[kVectors] = {load_codes(codes.at + i),
                                                    load_codes(codes.at + i + lanes)};
                        value_group<To, kVectors>(value_of, group, to + i);
                      }
                    });
    }
  });
  if (streamed) hwy::FlushStream();
}

/// Calls `group(values, words, out)` for each group of two vectors.
template <typename Work>
HWY_INLINE void round_groups(const float* in, std::size_t count, const CastOptions& options,
                             float* out, const Work& group) {
  const std::size_t step = 2 * hn::Lanes(F());
  const bool streamed = is_streamed(count * sizeof(float)) && out != in;
  Buffer<float> room;
  for_tiles(in, count, options,
            [&](std::size_t first, std::size_t size, const float* values,
                const std::uint32_t* words) HWY_ATTR {
              put_tile<Overwrite>(size, out + first, size % step == 0, streamed, room.at,
                                  [&](Overwrite, float* to) HWY_ATTR {
                                    for (std::size_t i = 0; i < size; i += step) {
                                      group(values + i, words + i, to + i);
                                    }
                                  });
            });
  if (streamed) hwy::FlushStream();
}

void round(const Layout& layout, const float* in, std::size_t count, const CastOptions& options,
           float* out) {
  if (!options.stochastic && FastRound::takes(layout.floats, options.shift)) {
    const FastRound rounding(layout.floats, options.shift, options.saturate);
    round_groups(in, count, options, out,
                 [&](const float* values, const std::uint32_t*, float* to)
                     CPDCOMM_INLINE_LAMBDA { round_group<2>(rounding, values, to); });
    return;
  }
  const ValueOf value_of(layout.floats);
  with_cast(layout.floats, options.shift, options.saturate, options.stochastic.has_value(),
            [&]<typename Cast>(Cast cast) HWY_ATTR {
              round_groups(in, count, options, out,
                           [&](const float* values, const std::uint32_t* words, float* to)
                               CPDCOMM_INLINE_LAMBDA {
                                 using Pair = std::uint16_t;
                                 VU codes[kGroup<Pair>];
                                 cast_group<Pair>(cast, values, words, codes);
                                 value_group<Overwrite, 2>(value_of, codes, to);
                               });
            });
}

}  // namespace

const Kernels& float_kernels() {
  static constexpr Kernels kernels{encode, decode<Overwrite>, decode<Accumulate>, round, nullptr};
  return kernels;
}

#endif

}  // namespace cpdcomm::codec::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cpdcomm::codec::simd {

HWY_EXPORT(float_kernels);
const Kernels& float_kernels() { return HWY_DYNAMIC_DISPATCH(float_kernels)(); }

}  // namespace cpdcomm::codec::simd
#endif
