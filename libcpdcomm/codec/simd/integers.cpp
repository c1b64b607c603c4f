// Packed integers, for every instruction set.
#include "codec/integers.hpp"

#include "codec/simd/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/simd/integers.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "codec/plain/blocks.hpp"
#include "codec/simd/tiles-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace cpdcomm::codec::simd::HWY_NAMESPACE {

#if CPDCOMM_PLAIN_TARGET

void pack_integers(const std::int32_t* in, std::size_t count, int width, std::byte* out) {
  plain::pack_integers(in, count, width, out);
}
void unpack_integers(const std::byte* in, std::size_t count, int width, std::int32_t* out) {
  plain::unpack_integers(in, count, width, out);
}
void add_packed_integers(const std::byte* in, std::size_t count, int width, std::int32_t* sums) {
  plain::add_packed_integers(in, count, width, sums);
}

#else

namespace hn = hwy::HWY_NAMESPACE;

/// The lowest bits of a tile's integers as codes.
template <typename Code>
HWY_INLINE void narrow_tile(const std::int32_t* in, std::size_t count, VU mask, Code* codes) {
  const std::size_t lanes = hn::Lanes(I());
  const auto code = [&](std::size_t i) HWY_ATTR {
    return hn::And(hn::BitCast(U(), hn::LoadU(I(), in + i)), mask);
  };
  std::size_t i = 0;
  for (; i + group_size<Code>() <= count; i += group_size<Code>()) {
    VU group[kGroup<Code>];
#pragma GCC unroll 4
    for (int k = 0; k < kGroup<Code>; ++k) group[k] = code(i + static_cast<std::size_t>(k) * lanes);
    store_codes(group, codes + i);
  }
  const std::size_t end = (count + 7) / 8 * 8;
  for (; i < end; i += lanes) store_vector(code(i), codes + i);
}

void pack_integers(const std::int32_t* in, std::size_t count, int width, std::byte* out) {
  const VU mask = set((1u << width) - 1u);
  with_code_type(width, [&]<typename Code>(Code*) HWY_ATTR {
    Buffer<std::int32_t> room;
    Buffer<Code> codes;
    for (std::size_t first = 0; first < count; first += kTile) {
      const std::size_t size = std::min(kTile, count - first);
      const std::int32_t* integers = padded(in + first, size, count - first, true, room.at);
      narrow_tile(integers, size, mask, codes.at);
      write_codes(codes.at, size, width, out + packed_bytes(first, width), false);
    }
  });
}

/// Calls `put(at, integers, to)` with vectors of what is packed, and of the last few one by one.
template <typename Put>
HWY_INLINE void unpack_each(const std::byte* in, std::size_t count, int width, std::int32_t* out,
                            const Put& put) {
  const int unused = 32 - width;
  with_code_type(width, [&]<typename Code>(Code*) HWY_ATTR {
    Buffer<Code> codes;
    for (std::size_t first = 0; first < count; first += kTile) {
      const std::size_t size = std::min(kTile, count - first);
      read_codes(in + packed_bytes(first, width), size, width, codes.at);
      std::size_t i = 0;
      for (; i + hn::Lanes(I()) <= size; i += hn::Lanes(I())) {
        const VI top = hn::BitCast(I(), hn::ShiftLeftSame(load_codes(codes.at + i), unused));
        put.vector(hn::ShiftRightSame(top, unused), out + first + i);
      }
      for (; i < size; ++i) put.one(plain::from_code(codes.at[i], width), out + first + i);
    }
  });
}

struct PutIntegers {
  static HWY_INLINE void vector(VI integers, std::int32_t* to) { hn::StoreU(integers, I(), to); }
  static HWY_INLINE void one(std::int32_t integer, std::int32_t* to) { *to = integer; }
};

struct AddIntegers {
  static HWY_INLINE void vector(VI integers, std::int32_t* to) {
    hn::StoreU(hn::Add(hn::LoadU(I(), to), integers), I(), to);
  }
  static HWY_INLINE void one(std::int32_t integer, std::int32_t* to) { *to += integer; }
};

void unpack_integers(const std::byte* in, std::size_t count, int width, std::int32_t* out) {
  unpack_each(in, count, width, out, PutIntegers());
}

void add_packed_integers(const std::byte* in, std::size_t count, int width, std::int32_t* sums) {
  unpack_each(in, count, width, sums, AddIntegers());
}

#endif

}  // namespace cpdcomm::codec::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cpdcomm::codec {
namespace simd {
HWY_EXPORT(pack_integers);
HWY_EXPORT(unpack_integers);
HWY_EXPORT(add_packed_integers);
}  // namespace simd

void pack_integers(const std::int32_t* in, std::size_t count, int width, std::byte* out) {
  using namespace simd;
  HWY_DYNAMIC_DISPATCH(pack_integers)(in, count, width, out);
}
void unpack_integers(const std::byte* in, std::size_t count, int width, std::int32_t* out) {
  using namespace simd;
  HWY_DYNAMIC_DISPATCH(unpack_integers)(in, count, width, out);
}
void add_packed_integers(const std::byte* in, std::size_t count, int width, std::int32_t* sums) {
  using namespace simd;
  HWY_DYNAMIC_DISPATCH(add_packed_integers)(in, count, width, sums);
}

}  // namespace cpdcomm::codec
#endif
