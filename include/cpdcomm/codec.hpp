#pragma once

#include <cstddef>
#include <span>

#include "cpdcomm/export.hpp"
#include "cpdcomm/format.hpp"

namespace cpdcomm {

/// How values are cast.
struct CastOptions {
  int shift = 0;  ///< Values are multiplied by 2^shift, exactly, before they are rounded once.
  bool saturate = false;  ///< A finite overflow gives the largest finite value, not Inf.
};

/// Bytes that `count` values take on the wire: ceil(count * code_bits / 8).
CPDCOMM_API std::size_t encoded_size(Format format, std::size_t count);

/// Rounds `values` to `format`, nearest-even, and packs them: a little-endian bit string, value i
/// in bits i*b to (i+1)*b-1, least significant first; the unused bits of the last byte are 0.
/// @param bytes  exactly encoded_size(format, values.size()) bytes; must not overlap `values`
/// @throws Error invalid_argument when `bytes` has another size
CPDCOMM_API void encode(std::span<const float> values, Format format, std::span<std::byte> bytes,
                        CastOptions options = {});

/// The inverse: reads `values.size()` values from `bytes`.
/// @throws Error invalid_argument when `bytes` has another size than encoded_size()
CPDCOMM_API void decode(std::span<const std::byte> bytes, Format format, std::span<float> values);

/// decode(encode(in)) without the packing; `out` may be `in`.
/// @throws Error invalid_argument when the sizes differ
CPDCOMM_API void quantize(std::span<const float> in, Format format, std::span<float> out,
                          CastOptions options = {});

}  // namespace cpdcomm
