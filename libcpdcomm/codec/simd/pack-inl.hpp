// Codes of a tile to a bit string and back, per target.
#if defined(CPDCOMM_CODEC_SIMD_PACK_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef CPDCOMM_CODEC_SIMD_PACK_INL_HPP
#undef CPDCOMM_CODEC_SIMD_PACK_INL_HPP
#else
#define CPDCOMM_CODEC_SIMD_PACK_INL_HPP
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <cstring>

#include "codec/layout.hpp"
#include "codec/simd/byte_orders.hpp"
#include "codec/simd/tile.hpp"

#if !CPDCOMM_PLAIN_TARGET
HWY_BEFORE_NAMESPACE();
namespace cpdcomm::codec::simd::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// In each lane of T: two fields of `width` bits, one in each half, side by side in the lowest
/// bits.
template <typename T, class D, class V>
HWY_INLINE V join_halves(D d, V v, int width) {
  const int half = static_cast<int>(sizeof(T)) * 4;
  const auto low = static_cast<T>((T{1} << width) - 1);
  const auto high = static_cast<T>(low << width);
  const V moved = hn::ShiftRightSame(v, half - width);
  return hn::Or(hn::And(v, hn::Set(d, low)), hn::And(moved, hn::Set(d, high)));
}

/// The inverse of join_halves.
template <typename T, class D, class V>
HWY_INLINE V split_halves(D d, V v, int width) {
  const int half = static_cast<int>(sizeof(T)) * 4;
  const auto low = static_cast<T>((T{1} << width) - 1);
  const auto high = static_cast<T>(low << half);
  const V moved = hn::ShiftLeftSame(v, half - width);
  return hn::Or(hn::And(v, hn::Set(d, low)), hn::And(moved, hn::Set(d, high)));
}

/// In 128 bits: the lower of its two 64-bit lanes.
template <class D>
HWY_INLINE hn::Mask<D> is_lower(D d64) {
  return hn::Eq(hn::And(hn::Iota(d64, 0), hn::Set(d64, 1)), hn::Zero(d64));
}

#if HWY_TARGET == HWY_AVX3_DL

/// Joined lanes, closed up to bytes that follow each other.
template <typename Code>
class CloseUp {
 public:
  HWY_INLINE CloseUp(int bits, std::byte* out)
      : order_(_mm512_load_si512(kByteOrders[static_cast<std::size_t>(bits)].close_up)),
        out_(out),
        size_(static_cast<std::size_t>(bits) * (8 / sizeof(Code))) {}

  template <class V>
  HWY_INLINE void put(V joined) {
    _mm512_storeu_si512(out_, _mm512_permutexvar_epi8(order_, joined.raw));
    out_ += size_;
  }
  HWY_INLINE void finish() {}

 private:
  __m512i order_;
  std::byte* out_;
  std::size_t size_;
};

/// Codes of less than 16 bits, each cut out of the 64-bit lane that its bytes are moved to.
template <typename Code>
HWY_INLINE void unpack(const std::byte* in, std::size_t count, int bits, Code* codes) {
  const hn::ScalableTag<Code> d;
  const ByteOrder& order = kByteOrders[static_cast<std::size_t>(bits)];
  const __m512i spread = _mm512_load_si512(order.spread);
  const __m512i shifts = _mm512_load_si512(order.shifts);
  const auto mask = hn::Set(d, static_cast<Code>((1u << bits) - 1u));
  const std::size_t size = static_cast<std::size_t>(bits) * (8 / sizeof(Code));
  for (std::size_t i = 0; i < count; i += hn::Lanes(d), in += size) {
    const __m512i bytes = _mm512_permutexvar_epi8(spread, _mm512_loadu_si512(in));
    const hn::Vec<decltype(d)> cut{_mm512_multishift_epi64_epi8(shifts, bytes)};
    hn::Store(hn::And(cut, mask), d, codes + i);
  }
}

#else

/// The bytes that make `bits` bytes of each half of 16 follow each other.
template <class D>
HWY_INLINE hn::Vec<D> close_up(D d8, int bits) {
  const auto at = hn::And(hn::Iota(d8, 0), hn::Set(d8, std::uint8_t{15}));
  const auto width = hn::Set(d8, static_cast<std::uint8_t>(bits));
  const auto gap = hn::Set(d8, static_cast<std::uint8_t>(8 - bits));
  return hn::IfThenElse(hn::Lt(at, width), at,
                        hn::And(hn::Add(at, gap), hn::Set(d8, std::uint8_t{15})));
}

/// The inverse of close_up; what lies between is left to be masked out.
template <class D>
HWY_INLINE hn::Vec<D> spread_out(D d8, int bits) {
  const auto at = hn::And(hn::Iota(d8, 0), hn::Set(d8, std::uint8_t{15}));
  const auto gap = hn::Set(d8, static_cast<std::uint8_t>(8 - bits));
  return hn::IfThenElse(hn::Lt(at, hn::Set(d8, std::uint8_t{8})), at, hn::Sub(at, gap));
}

/// Copies 16 bytes at a time from where they are `from` apart to where they are `to` apart.
HWY_INLINE void copy_spaced(const std::byte* in, std::size_t from, std::byte* out, std::size_t to,
                            std::size_t times) {
  for (std::size_t i = 0; i < times; ++i) std::memcpy(out + i * to, in + i * from, 16);
}

/// Joined lanes, closed up to bytes that follow each other.
template <typename Code>
class CloseUp {
 public:
  HWY_INLINE CloseUp(int bits, std::byte* out)
      : order_(close_up(D8(), bits)), out_(out), bits_(bits) {}

  template <class V>
  HWY_INLINE void put(V joined) {
    auto bytes = hn::BitCast(D8(), joined);
    if constexpr (sizeof(Code) == 1) bytes = hn::TableLookupBytes(bytes, order_);
    hn::Store(bytes, D8(), lanes_.at + used_);
    used_ += hn::Lanes(D8());
  }
  HWY_INLINE void finish() {
    copy_spaced(reinterpret_cast<const std::byte*>(lanes_.at), 16, out_,
                static_cast<std::size_t>(bits_) * (2 / sizeof(Code)), used_ / 16);
  }

 private:
  using D8 = hn::ScalableTag<std::uint8_t>;
  hn::Vec<D8> order_;
  std::byte* out_;
  int bits_;
  std::size_t used_ = 0;
  struct alignas(64) {
    std::uint8_t at[(kTile + kPad) * sizeof(Code)];
  } lanes_;
};

HWY_INLINE void unpack(const std::byte* in, std::size_t count, int bits, std::uint8_t* codes) {
  const hn::ScalableTag<std::uint8_t> d8;
  const hn::Repartition<std::uint16_t, decltype(d8)> d16;
  const hn::Repartition<std::uint32_t, decltype(d8)> d32;
  const hn::Repartition<std::uint64_t, decltype(d8)> d64;
  const auto order = spread_out(d8, bits);
  copy_spaced(in, 2 * static_cast<std::size_t>(bits), reinterpret_cast<std::byte*>(codes), 16,
              (count + 15) / 16);
  for (std::size_t i = 0; i < count; i += hn::Lanes(d8)) {
    const auto eights = hn::BitCast(d64, hn::TableLookupBytes(hn::Load(d8, codes + i), order));
    const auto fours = hn::BitCast(d32, split_halves<std::uint64_t>(d64, eights, 4 * bits));
    const auto pairs = hn::BitCast(d16, split_halves<std::uint32_t>(d32, fours, 2 * bits));
    hn::Store(hn::BitCast(d8, split_halves<std::uint16_t>(d16, pairs, bits)), d8, codes + i);
  }
}

HWY_INLINE void unpack(const std::byte* in, std::size_t count, int bits, std::uint16_t* codes) {
  const hn::ScalableTag<std::uint16_t> d16;
  const hn::Repartition<std::uint32_t, decltype(d16)> d32;
  const hn::Repartition<std::uint64_t, decltype(d16)> d64;
  const auto lower = is_lower(d64);
  copy_spaced(in, static_cast<std::size_t>(bits), reinterpret_cast<std::byte*>(codes), 16,
              (count + 7) / 8);
  for (std::size_t i = 0; i < count; i += hn::Lanes(d16)) {
    const auto eights = hn::BitCast(d64, hn::Load(d16, codes + i));
    const auto upper = hn::Or(hn::ShiftRightSame(hn::Shuffle01(eights), 4 * bits),
                              hn::ShiftLeftSame(eights, 64 - 4 * bits));
    const auto fours = hn::IfThenElse(lower, eights, upper);
    const auto pairs = hn::BitCast(d32, split_halves<std::uint64_t>(d64, fours, 2 * bits));
    hn::Store(hn::BitCast(d16, split_halves<std::uint32_t>(d32, pairs, bits)), d16, codes + i);
  }
}

#endif

/// Width 4, the most used below 8: two codes make a byte.
HWY_INLINE void pack_nibbles(const std::uint8_t* codes, std::size_t count, std::byte* out) {
  const hn::ScalableTag<std::uint16_t> d16;
  const hn::Repartition<std::uint8_t, decltype(d16)> d8;
  const hn::Half<decltype(d8)> half;
  auto* const bytes = reinterpret_cast<std::uint8_t*>(out);
  for (std::size_t i = 0; i < count; i += hn::Lanes(d8)) {
    const auto ones = hn::BitCast(d16, hn::Load(d8, codes + i));
    const auto pairs = join_halves<std::uint16_t>(d16, ones, 4);
    const hn::RebindToSigned<decltype(d16)> i16;
    hn::StoreU(hn::DemoteTo(half, hn::BitCast(i16, pairs)), half, bytes + i / 2);
  }
}

/// Widths up to 7: eight codes come to lie in one 64-bit lane, of which `bits` bytes are kept.
HWY_INLINE void pack(const std::uint8_t* codes, std::size_t count, int bits, std::byte* out) {
  if (bits == 4) return pack_nibbles(codes, count, out);
  const hn::ScalableTag<std::uint8_t> d8;
  const hn::Repartition<std::uint16_t, decltype(d8)> d16;
  const hn::Repartition<std::uint32_t, decltype(d8)> d32;
  const hn::Repartition<std::uint64_t, decltype(d8)> d64;
  CloseUp<std::uint8_t> closed(bits, out);
  for (std::size_t i = 0; i < count; i += hn::Lanes(d8)) {
    const auto ones = hn::BitCast(d16, hn::Load(d8, codes + i));
    const auto pairs = hn::BitCast(d32, join_halves<std::uint16_t>(d16, ones, bits));
    const auto fours = hn::BitCast(d64, join_halves<std::uint32_t>(d32, pairs, 2 * bits));
    closed.put(join_halves<std::uint64_t>(d64, fours, 4 * bits));
  }
  closed.finish();
}

/// Widths 9 to 15: eight codes come to lie in 128 bits, of which `bits` bytes are kept.
HWY_INLINE void pack(const std::uint16_t* codes, std::size_t count, int bits, std::byte* out) {
  const hn::ScalableTag<std::uint16_t> d16;
  const hn::Repartition<std::uint32_t, decltype(d16)> d32;
  const hn::Repartition<std::uint64_t, decltype(d16)> d64;
  const auto lower = is_lower(d64);
  CloseUp<std::uint16_t> closed(bits, out);
  for (std::size_t i = 0; i < count; i += hn::Lanes(d16)) {
    const auto ones = hn::BitCast(d32, hn::Load(d16, codes + i));
    const auto pairs = hn::BitCast(d64, join_halves<std::uint32_t>(d32, ones, bits));
    const auto fours = join_halves<std::uint64_t>(d64, pairs, 2 * bits);
    const auto moved = hn::ShiftLeftSame(hn::Shuffle01(fours), 4 * bits);
    const auto eights =
        hn::IfThenElse(lower, hn::Or(fours, moved), hn::ShiftRightSame(fours, 64 - 4 * bits));
    closed.put(eights);
  }
  closed.finish();
}

/// Widths 17 to 31, two codes at a time.
HWY_INLINE void pack(const std::uint32_t* codes, std::size_t count, int bits, std::byte* out) {
  std::uint64_t pending = 0;
  int filled = 0;
  for (std::size_t i = 0; i < count; i += 2) {
    const std::uint64_t pair = codes[i] | static_cast<std::uint64_t>(codes[i + 1]) << bits;
    pending |= pair << filled;
    filled += 2 * bits;
    if (filled < 64) continue;
    std::memcpy(out, &pending, sizeof pending);
    out += sizeof pending;
    filled -= 64;
    pending = pair >> (2 * bits - filled);
  }
  std::memcpy(out, &pending, sizeof pending);
}

HWY_INLINE void unpack(const std::byte* in, std::size_t count, int bits, std::uint32_t* codes) {
  const std::uint64_t mask = (std::uint64_t{1} << bits) - 1;
  std::size_t bit = 0;
  for (std::size_t i = 0; i < count; ++i, bit += static_cast<std::size_t>(bits)) {
    std::uint64_t window;
    std::memcpy(&window, in + bit / 8, sizeof window);
    codes[i] = static_cast<std::uint32_t>(window >> (bit % 8) & mask);
  }
}

/// Copies past the caches, but for what lies before and after whole lines of 64 bytes.
HWY_INLINE void stream_bytes(const std::byte* bytes, std::size_t size, std::byte* out) {
  const hn::ScalableTag<std::uint8_t> d;
  const auto* const from = reinterpret_cast<const std::uint8_t*>(bytes);
  auto* const to = reinterpret_cast<std::uint8_t*>(out);
  std::size_t i = std::min(size, (64 - reinterpret_cast<std::uintptr_t>(out) % 64) % 64);
  if (i != 0) std::memcpy(out, bytes, i);
  for (; i + hn::Lanes(d) <= size; i += hn::Lanes(d)) hn::Stream(hn::LoadU(d, from + i), d, to + i);
  if (i != size) std::memcpy(out + i, bytes + i, size - i);
}

/// Whether so many bytes are more than caches hold, so that to write past them is faster.
HWY_INLINE bool is_streamed(std::size_t size) {
  constexpr std::size_t kMoreThanCaches = std::size_t{1} << 23;
  return size >= kMoreThanCaches;
}

HWY_INLINE void put_bytes(const void* bytes, std::size_t size, void* out, bool streamed) {
  if (streamed) {
    stream_bytes(static_cast<const std::byte*>(bytes), size, static_cast<std::byte*>(out));
  } else {
    std::memcpy(out, bytes, size);
  }
}

/// The bytes of `count` codes.
template <typename Code>
HWY_INLINE void write_codes(const Code* codes, std::size_t count, int bits, std::byte* out,
                            bool streamed) {
  if (bits == static_cast<int>(8 * sizeof(Code))) {
    put_bytes(codes, count * sizeof(Code), out, streamed);
    return;
  }
  Buffer<Code> bytes;
  auto* const packed = reinterpret_cast<std::byte*>(bytes.at);
  pack(codes, count, bits, packed);
  put_bytes(packed, packed_bytes(count, bits), out, streamed);
}

template <typename Code>
HWY_INLINE void read_codes(const std::byte* in, std::size_t count, int bits, Code* codes) {
  const std::size_t size = packed_bytes(count, bits);
  if (bits == static_cast<int>(8 * sizeof(Code))) {
    std::memcpy(codes, in, size);
    return;
  }
  Buffer<Code> bytes;
  auto* const packed = reinterpret_cast<std::byte*>(bytes.at);
  std::memcpy(packed, in, size);
  std::memset(packed + size, 0, 16);
  unpack(packed, count, bits, codes);
}

}  // namespace cpdcomm::codec::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

#endif
