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
    work(first, size, padded(in + first, size, count - first, room.at), drawn);
  }
}

void encode(const Layout& layout, const float* in, std::size_t count, const CastOptions& options,
            Place place) {
  std::byte* const out = place.codes(layout);
  const bool streamed = is_streamed(out, layout.code_bytes(count));
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
  const std::byte* const in = place.codes(layout);
  const ValueOf value_of(layout.floats);
  const std::size_t lanes = hn::Lanes(F());
  const bool streamed = !Put::kAdds && is_streamed(out, count * sizeof(float));
  with_code_type(layout.bits, [&]<typename Code>(Code*) HWY_ATTR {
    Buffer<Code> codes;
    Buffer<float> values;
    for (std::size_t first = 0; first < count; first += kTile) {
      const std::size_t size = std::min(kTile, count - first);
      read_codes(in + layout.code_bytes(first), size, layout.bits, codes.at);
      for (std::size_t i = 0; i < size; i += 2 * lanes) {
        const VU group[2] = {load_codes(codes.at + i), load_codes(codes.at + i + lanes)};
        value_group<2>(value_of, group, values.at + i);
      }
      put<Put>(values.at, size, out + first, streamed);
    }
  });
  if (streamed) hwy::FlushStream();
}

/// Calls `tile(size, values, words, out)` for each tile, whose rounded values it leaves in `out`.
template <typename Work>
HWY_INLINE void round_tiles(const float* in, std::size_t count, const CastOptions& options,
                            float* out, const Work& tile) {
  const bool streamed = is_streamed(out, count * sizeof(float)) && out != in;
  Buffer<float> rounded;
  for_tiles(in, count, options,
            [&](std::size_t first, std::size_t size, const float* values,
                const std::uint32_t* words) HWY_ATTR {
              tile(size, values, words, rounded.at);
              put<Overwrite>(rounded.at, size, out + first, streamed);
            });
  if (streamed) hwy::FlushStream();
}

void round(const Layout& layout, const float* in, std::size_t count, const CastOptions& options,
           float* out) {
  constexpr int kVectors = 2;
  const std::size_t step = kVectors * hn::Lanes(F());
  if (!options.stochastic && FastRound::takes(layout.floats, options.shift)) {
    const FastRound rounding(layout.floats, options.saturate);
    round_tiles(in, count, options, out,
                [&](std::size_t size, const float* values, const std::uint32_t*, float* to)
                    HWY_ATTR {
                      for (std::size_t i = 0; i < size; i += step) {
                        round_group<kVectors>(rounding, values + i, to + i);
                      }
                    });
    return;
  }
  const ValueOf value_of(layout.floats);
  with_cast(layout.floats, options.shift, options.saturate, options.stochastic.has_value(),
            [&]<typename Cast>(Cast cast) HWY_ATTR {
              round_tiles(in, count, options, out,
                          [&](std::size_t size, const float* values, const std::uint32_t* words,
                              float* to) HWY_ATTR {
                            using Pair = std::uint16_t;
                            for (std::size_t i = 0; i < size; i += step) {
                              VU group[kVectors];
                              cast_group<Pair>(cast, values + i, words + i, group);
                              value_group<kVectors>(value_of, group, to + i);
                            }
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
