#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cpdcomm/export.hpp"
#include "cpdcomm/format.hpp"

namespace cpdcomm {

/// The random words of stochastic rounding: word i belongs to value `first + i` of the span.
///
/// Counter-based (Philox4x32-10 of J. K. Salmon et al., Parallel random numbers: as easy as 1, 2,
/// 3, SC 2011), so that they depend on these numbers alone: not on threads, on how a tensor is cut,
/// or on the machine.
struct RandomStream {
  std::uint32_t seed = 0;
  std::uint32_t step = 0;    ///< of the training; with `seed` the key
  std::uint16_t phase = 0;   ///< 0: a rank's own part; h: a partial sum of h + 1 parts
  std::uint32_t rank = 0;    ///< who encodes
  std::uint32_t tensor = 0;  ///< place in the call
  std::uint64_t first = 0;   ///< index in the tensor of the first value
};

/// How values are cast.
struct CastOptions {
  int shift = 0;  ///< Values are multiplied by 2^shift, exactly, before they are rounded once.
                  ///< Of floats only: a block has its own scale.
  bool saturate = false;  ///< A finite overflow gives the largest finite value, not Inf.
  std::optional<RandomStream> stochastic = {};  ///< Stochastic rounding; else nearest-even.
};

/// The instruction sets with kernels of their own that this machine has, the one in use first:
/// "avx512vbmi", "avx512", "avx2", "sse4"; "plain" is always there.
CPDCOMM_API std::vector<std::string> instruction_sets();

/// Bytes that `count` values take: ceil(count * code_bits / 8), and the scales of their blocks.
CPDCOMM_API std::size_t encoded_size(Format format, std::size_t count);

/// Rounds `values` to `format` and packs them: a little-endian bit string, value i in bits i*b to
/// (i+1)*b-1, least significant first; the unused bits of the last byte are 0. The scales of the
/// blocks follow in order. In a block with an Inf or NaN all codes are 0.
/// @param bytes  exactly encoded_size(format, values.size()) bytes; must not overlap `values`
/// @throws Error invalid_argument when `bytes` has another size, or for a shift of a block format
CPDCOMM_API void encode(std::span<const float> values, Format format, std::span<std::byte> bytes,
                        CastOptions options = {});

/// The inverse: reads `values.size()` values from `bytes`. Any bytes are read without harm.
/// @throws Error invalid_argument when `bytes` has another size than encoded_size()
CPDCOMM_API void decode(std::span<const std::byte> bytes, Format format, std::span<float> values);

/// Where some values lie in a longer span: first to first + size - 1 of `of`. Pieces may be encoded
/// and decoded by different threads at once.
struct Piece {
  std::size_t of;
  std::size_t first;
};

/// Writes a piece's part of encode(), the bytes of its codes and the scales of its blocks.
/// @param bytes    of the whole, exactly encoded_size(format, piece.of)
/// @param options  their stochastic stream begins at the piece's first value
/// @throws Error invalid_argument as encode(), and unless the piece begins at a multiple of 8 and
///         of the block, and ends at such a multiple or at the end
CPDCOMM_API void encode_piece(std::span<const float> values, Piece piece, Format format,
                              std::span<std::byte> bytes, CastOptions options = {});

/// The inverse.
/// @throws Error invalid_argument as decode() and encode_piece()
CPDCOMM_API void decode_piece(std::span<const std::byte> bytes, Piece piece, Format format,
                              std::span<float> values);

/// decode(encode(in)) without the packing; `out` may be `in`.
/// @throws Error invalid_argument when the sizes differ, or for a shift of a block format
CPDCOMM_API void quantize(std::span<const float> in, Format format, std::span<float> out,
                          CastOptions options = {});

}  // namespace cpdcomm
