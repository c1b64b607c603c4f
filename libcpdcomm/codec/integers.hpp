#pragma once

#include <cstddef>
#include <cstdint>

// Integers as a bit string, as codes are packed everywhere: little-endian, integer i in bits i*w to
// (i+1)*w-1, least significant first, two's complement. Widths w are 1 to 29 bits (at 1, 0 and -1).
namespace cpdcomm::codec {

/// Packs the lowest `width` bits of each; the unused bits of the last byte are 0.
void pack_integers(const std::int32_t* in, std::size_t count, int width, std::byte* out);

/// The inverse, with the sign.
void unpack_integers(const std::byte* in, std::size_t count, int width, std::int32_t* out);

/// Adds what it unpacks.
void add_packed_integers(const std::byte* in, std::size_t count, int width, std::int32_t* sums);

namespace plain {
void pack_integers(const std::int32_t* in, std::size_t count, int width, std::byte* out);
void unpack_integers(const std::byte* in, std::size_t count, int width, std::int32_t* out);
void add_packed_integers(const std::byte* in, std::size_t count, int width, std::int32_t* sums);
}  // namespace plain

}  // namespace cpdcomm::codec
