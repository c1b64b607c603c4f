// Loops over tiles that all families share, per target.
#if defined(CPDCOMM_CODEC_SIMD_TILES_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef CPDCOMM_CODEC_SIMD_TILES_INL_HPP
#undef CPDCOMM_CODEC_SIMD_TILES_INL_HPP
#else
#define CPDCOMM_CODEC_SIMD_TILES_INL_HPP
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstring>

#include "codec/simd/floats-inl.hpp"
#include "codec/simd/pack-inl.hpp"
#include "codec/simd/random-inl.hpp"
#include "codec/simd/tile.hpp"

#if !CPDCOMM_PLAIN_TARGET
HWY_BEFORE_NAMESPACE();
namespace cpdcomm::codec::simd::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// The values of a tile, to be read up to the end of a vector: in their place, or where that could
/// be past the end of the call, copied to `room` with zeros behind.
/// @param left   values of the call from here on
/// @param whole  vectors end with the tile where that is a multiple of kPad
template <typename T>
HWY_INLINE const T* padded(const T* in, std::size_t count, std::size_t left, bool whole, T* room) {
  if (left >= count + kPad || (whole && count % kPad == 0)) return in;
  std::memcpy(room, in, count * sizeof(T));
  std::memset(room + count, 0, kPad * sizeof(T));
  return room;
}

/// Vectors that are worked on at once: they fill a vector of codes.
template <typename Code>
inline constexpr int kGroup = 4 / static_cast<int>(sizeof(Code));
template <typename Code>
HWY_INLINE std::size_t group_size() {
  return static_cast<std::size_t>(kGroup<Code>) * hn::Lanes(F());
}

HWY_INLINE void store_codes(const VU* codes, std::uint32_t* at) { hn::StoreU(codes[0], U(), at); }

#if HWY_TARGET <= HWY_AVX3
// Packs work within 128 bits; one permutation puts their results in order.
HWY_INLINE void store_codes(const VU* codes, std::uint16_t* at) {
  const __m512i order = _mm512_set_epi64(7, 5, 3, 1, 6, 4, 2, 0);
  const __m512i packed = _mm512_packus_epi32(codes[0].raw, codes[1].raw);
  _mm512_storeu_si512(at, _mm512_permutexvar_epi64(order, packed));
}
HWY_INLINE void store_codes(const VU* codes, std::uint8_t* at) {
  const __m512i order = _mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0);
  const __m512i packed = _mm512_packus_epi16(_mm512_packs_epi32(codes[0].raw, codes[1].raw),
                                             _mm512_packs_epi32(codes[2].raw, codes[3].raw));
  _mm512_storeu_si512(at, _mm512_permutexvar_epi32(order, packed));
}
#elif HWY_TARGET == HWY_AVX2
HWY_INLINE void store_codes(const VU* codes, std::uint16_t* at) {
  const __m256i packed = _mm256_packus_epi32(codes[0].raw, codes[1].raw);
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), _mm256_permute4x64_epi64(packed, 0xd8));
}
HWY_INLINE void store_codes(const VU* codes, std::uint8_t* at) {
  const __m256i order = _mm256_set_epi32(7, 3, 6, 2, 5, 1, 4, 0);
  const __m256i packed = _mm256_packus_epi16(_mm256_packs_epi32(codes[0].raw, codes[1].raw),
                                             _mm256_packs_epi32(codes[2].raw, codes[3].raw));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), _mm256_permutevar8x32_epi32(packed, order));
}
#else
template <typename Code>
HWY_INLINE void store_codes(const VU* codes, Code* at) {
  const hn::Rebind<Code, U> d;
  for (int k = 0; k < kGroup<Code>; ++k) {
    hn::StoreU(hn::DemoteTo(d, hn::BitCast(I(), codes[k])), d,
               at + static_cast<std::size_t>(k) * hn::Lanes(F()));
  }
}
#endif

/// One vector of codes.
HWY_INLINE void store_vector(VU codes, std::uint32_t* at) { hn::StoreU(codes, U(), at); }
template <typename Code>
HWY_INLINE void store_vector(VU codes, Code* at) {
#if HWY_TARGET <= HWY_AVX3
  if constexpr (sizeof(Code) == 1) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(at), _mm512_cvtepi32_epi8(codes.raw));
  } else {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), _mm512_cvtepi32_epi16(codes.raw));
  }
#else
  const hn::Rebind<Code, U> d;
  hn::StoreU(hn::DemoteTo(d, hn::BitCast(I(), codes)), d, at);
#endif
}

HWY_INLINE VU load_codes(const std::uint32_t* at) { return hn::LoadU(U(), at); }
HWY_INLINE VU load_codes(const std::uint16_t* at) {
  return hn::PromoteTo(U(), hn::LoadU(hn::Rebind<std::uint16_t, U>(), at));
}
HWY_INLINE VU load_codes(const std::uint8_t* at) {
  return hn::PromoteTo(U(), hn::LoadU(hn::Rebind<std::uint8_t, U>(), at));
}

// Where values go.

struct Overwrite {
  static constexpr bool kAdds = false;
  static HWY_INLINE void store(VF values, float* out) { hn::StoreU(values, F(), out); }
  static HWY_INLINE void put(const float* values, std::size_t count, float* out) {
    std::memcpy(out, values, count * sizeof(float));
  }
};

struct Accumulate {
  static constexpr bool kAdds = true;
  static HWY_INLINE void store(VF values, float* out) {
    hn::StoreU(hn::Add(hn::LoadU(F(), out), values), F(), out);
  }
  static HWY_INLINE void put(const float* values, std::size_t count, float* out) {
    for (std::size_t i = 0; i < count; ++i) out[i] += values[i];
  }
};

/// Lets `work(put, to)` put a tile's values by whole vectors: in their place where that ends with
/// the vectors, else into `room`, from where they go on exactly, or past the caches.
template <typename Put, typename Work>
HWY_INLINE void put_tile(std::size_t count, float* out, bool whole, bool streamed, float* room,
                         const Work& work) {
  if (whole && !streamed) {
    work(Put(), out);
    return;
  }
  work(Overwrite(), room);
  if (streamed) {
    stream_bytes(reinterpret_cast<const std::byte*>(room), count * sizeof(float),
                 reinterpret_cast<std::byte*>(out));
  } else {
    Put::put(room, count, out);
  }
}

/// The codes of a group of vectors. What is not finite is rare, so it is looked for once.
template <typename Code, typename Cast>
HWY_INLINE void cast_group(const Cast& cast, const float* values, const std::uint32_t* words,
                           VU* codes) {
  VU largest = hn::Zero(U());
  VU bits[kGroup<Code>];
#pragma GCC unroll 4
  for (int k = 0; k < kGroup<Code>; ++k) {
    const std::size_t at = static_cast<std::size_t>(k) * hn::Lanes(F());
    bits[k] = bits_of(hn::LoadU(F(), values + at));
    largest = hn::Max(largest, magnitude_of(bits[k]));
    codes[k] = cast(bits[k], Cast::kDraws ? hn::LoadU(U(), words + at) : hn::Zero(U()));
  }
  if (HWY_LIKELY(hn::AllFalse(I(), is_special(largest)))) return;
#pragma GCC unroll 4
  for (int k = 0; k < kGroup<Code>; ++k) codes[k] = cast.code_of().any(bits[k], codes[k]);
}

/// The rounded values of a group of vectors.
template <int kVectors>
HWY_INLINE void round_group(const FastRound& rounding, const float* values, float* out) {
  VU largest = hn::Zero(U());
  VU bits[kVectors];
  VF rounded[kVectors];
#pragma GCC unroll 4
  for (int k = 0; k < kVectors; ++k) {
    bits[k] = bits_of(hn::LoadU(F(), values + static_cast<std::size_t>(k) * hn::Lanes(F())));
    largest = hn::Max(largest, magnitude_of(bits[k]));
    rounded[k] = rounding(bits[k]);
  }
  if (HWY_UNLIKELY(!hn::AllFalse(I(), is_special(largest)))) {
#pragma GCC unroll 4
    for (int k = 0; k < kVectors; ++k) rounded[k] = rounding.any(bits[k], rounded[k]);
  }
#pragma GCC unroll 4
  for (int k = 0; k < kVectors; ++k) {
    Overwrite::store(rounded[k], out + static_cast<std::size_t>(k) * hn::Lanes(F()));
  }
}

/// The values of a group of vectors of codes.
template <typename Put, int kVectors>
HWY_INLINE void value_group(const ValueOf& value_of, const VU* codes, float* values) {
  VU largest = hn::Zero(U());
  VF decoded[kVectors];
#pragma GCC unroll 4
  for (int k = 0; k < kVectors; ++k) {
    largest = hn::Max(largest, value_of.magnitude(codes[k]));
    decoded[k] = value_of(codes[k]);
  }
  if (HWY_UNLIKELY(!hn::AllFalse(I(), value_of.is_special(largest)))) {
#pragma GCC unroll 4
    for (int k = 0; k < kVectors; ++k) decoded[k] = value_of.any(codes[k], decoded[k]);
  }
#pragma GCC unroll 4
  for (int k = 0; k < kVectors; ++k) {
    Put::store(decoded[k], values + static_cast<std::size_t>(k) * hn::Lanes(F()));
  }
}

/// Calls `work` with a null pointer of the type that codes of `bits` bits are kept in.
template <typename Work>
HWY_INLINE void with_code_type(int bits, const Work& work) {
  if (bits <= 8) {
    work(static_cast<std::uint8_t*>(nullptr));
  } else if (bits <= 16) {
    work(static_cast<std::uint16_t*>(nullptr));
  } else {
    work(static_cast<std::uint32_t*>(nullptr));
  }
}

}  // namespace cpdcomm::codec::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

#endif
