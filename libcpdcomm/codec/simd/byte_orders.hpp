#pragma once

#include <array>
#include <cstdint>

// Where bytes and bits of packed codes lie in a vector of 64 bytes, for instructions that move any
// byte anywhere (VBMI), worked out when the library is compiled.
namespace cpdcomm::codec::simd {

/// Of one width. Codes below 8 bits are kept in bytes, eight of them in a 64-bit lane when joined;
/// above, in 16 bits, eight of them in 128 bits when joined. Eight codes take `width` bytes.
struct ByteOrder {
  alignas(64) std::uint8_t close_up[64];  ///< from joined lanes to bytes that follow each other
  alignas(64) std::uint8_t spread[64];    ///< to each 64-bit lane the bytes its codes are in
  alignas(64) std::uint8_t shifts[64];    ///< the first bit of each byte of a code in its lane
};

constexpr ByteOrder byte_order(int width) {
  const bool bytes = width < 8;
  const int lane_bytes = bytes ? 8 : 16;  // of eight codes when joined
  const int lanes_per_eight = lane_bytes / 8;
  const int code_bytes = bytes ? 1 : 2;
  ByteOrder order{};
  for (int at = 0; at < 64; ++at) {
    const bool used = at < 64 / lane_bytes * width;
    order.close_up[at] = static_cast<std::uint8_t>(used ? at / width * lane_bytes + at % width : 0);
    const int lane = at / 8;
    const int first_bit = lane % lanes_per_eight * 4 * width;  // of this lane's codes in the eight
    const int first_byte = lane / lanes_per_eight * width + first_bit / 8;
    order.spread[at] = static_cast<std::uint8_t>(first_byte + at % 8);
    const int code = at % 8 / code_bytes;
    order.shifts[at] =
        static_cast<std::uint8_t>(first_bit % 8 + code * width + at % code_bytes * 8);
  }
  return order;
}

inline constexpr auto kByteOrders = [] {
  std::array<ByteOrder, 16> orders{};
  for (int width = 1; width < 16; ++width)
    orders[static_cast<std::size_t>(width)] = byte_order(width);
  return orders;
}();

}  // namespace cpdcomm::codec::simd
