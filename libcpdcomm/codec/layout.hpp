#pragma once

#include <cstddef>
#include <cstdint>

#include "cpdcomm/format.hpp"
#include "numerics/cast.hpp"
#include "numerics/linear.hpp"

namespace cpdcomm::codec {

/// Bytes of `count` codes of `bits` bits, one after the other.
constexpr std::size_t packed_bytes(std::size_t count, int bits) {
  // Whole bytes first: count * bits would overflow for counts near 2^59.
  const auto width = static_cast<std::size_t>(bits);
  return count / 8 * width + (count % 8 * width + 7) / 8;
}

/// What the kernels need of a format, worked out once.
struct Layout {
  explicit Layout(Format of);

  Format format;
  int bits;                      ///< of one code
  std::size_t block;             ///< values that share a scale; 0 for floats
  std::size_t scale_bytes;       ///< of one block's scale
  numerics::FloatLayout floats;  ///< of a float, or of the elements of mx; unused for integers
  std::int32_t most;             ///< the largest integer code of a block format

  /// Of mx: exponent of the largest binade of the elements.
  int mx_emax() const { return format.exp_bits() == 0 ? 0 : floats.emax; }
  /// Bytes of the codes of `count` values.
  std::size_t code_bytes(std::size_t count) const { return packed_bytes(count, bits); }
  std::size_t blocks(std::size_t count) const {
    return block == 0 ? 0 : count / block + (count % block != 0 ? 1 : 0);
  }
  std::size_t encoded_size(std::size_t count) const {
    return code_bytes(count) + blocks(count) * scale_bytes;
  }
};

/// Where some values lie in the bytes of a longer span: codes first, then the scales of all blocks.
template <typename Byte>
struct BasicPlace {
  Byte* bytes;        ///< of the whole span
  std::size_t of;     ///< values of the whole span
  std::size_t first;  ///< the first value meant, a multiple of 8 or of the block

  Byte* codes(const Layout& layout) const { return bytes + layout.code_bytes(first); }
  Byte* scales(const Layout& layout) const {
    return bytes + layout.code_bytes(of) + layout.blocks(first) * layout.scale_bytes;
  }
  BasicPlace operator+(std::size_t values) const { return {bytes, of, first + values}; }
};
using Place = BasicPlace<std::byte>;
using ConstPlace = BasicPlace<const std::byte>;

}  // namespace cpdcomm::codec
