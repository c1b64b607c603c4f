#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "codec/layout.hpp"
#include "cpdcomm/codec.hpp"

namespace cpdcomm::codec {

/// Sums that lose nothing: the codes of `bfpK` and `intK` on scales that all ranks share, added as
/// integers. A sum of j parts takes K + ceil(log2 j) bits a value, packed as everywhere:
/// little-endian, value i in bits i*w to (i+1)*w-1, two's complement.
///
/// A scale travels as one 32-bit word a block, of which the ranks take the MAX: of `bfp` the
/// exponent byte, of `int` the bits of the largest magnitude. Both say NaN with what is largest.
///
/// Spans start at a block; each is a bit string of its own. Packed arguments of one call must not
/// overlap. The floating-point environment is the default. No call allocates.
class Exact {
 public:
  /// @param world  the most parts that a sum will have, at least 1
  /// @throws Error unsupported for another format than `bfp` and `int`, and where the sum of all
  ///         parts would take more than 29 bits
  Exact(Format format, std::uint32_t world);

  /// Bits of one value in a sum of `parts`.
  int bits(std::uint32_t parts) const;
  /// Bytes of `count` values in a sum of `parts`.
  std::size_t size(std::size_t count, std::uint32_t parts) const;
  /// Scale words of `count` values.
  std::size_t blocks(std::size_t count) const { return layout_.blocks(count); }

  /// A rank's own words.
  void scales(const float* in, std::size_t count, std::uint32_t* words) const;

  /// Packs `count` values as a sum of one part, nearest-even or with the words of a stream. Blocks
  /// whose word says NaN become zeros.
  /// @param words  the MAX of all ranks' words
  void encode(const float* in, std::size_t count, const std::uint32_t* words,
              const std::optional<RandomStream>& stochastic, std::byte* out) const;

  /// out = a + b, a sum of parts_a + parts_b parts.
  void add(const std::byte* a, std::uint32_t parts_a, const std::byte* b, std::uint32_t parts_b,
           std::size_t count, std::byte* out) const;

  /// The same in three steps, for sums of many parts: unpacks a sum,
  void widen(const std::byte* in, std::uint32_t parts, std::size_t count, std::int32_t* sums) const;
  /// adds another to it,
  void add_to(const std::byte* in, std::uint32_t parts, std::size_t count,
              std::int32_t* sums) const;
  /// and packs the sum of `parts`.
  void narrow(const std::int32_t* sums, std::uint32_t parts, std::size_t count,
              std::byte* out) const;

  /// FP32 values of a sum, each rounded once, at most the largest finite value.
  void decode(const std::byte* in, std::uint32_t parts, std::size_t count,
              const std::uint32_t* words, float* out) const;

  /// `result="wire"`: casts the sum of all parts to K bits on the scale times 2^ceil(log2 world).
  void encode_result(const std::byte* in, std::size_t count,
                     const std::optional<RandomStream>& stochastic, std::byte* out) const;
  /// And back, as decode.
  void decode_result(const std::byte* in, std::size_t count, const std::uint32_t* words,
                     float* out) const;

 private:
  float step(std::uint32_t word) const;
  std::int32_t integer(float x, float step, const std::optional<RandomStream>& stochastic,
                       std::size_t i) const;
  /// Decodes integers of `width` bits on the blocks' steps times 2^up.
  void decode_on(const std::byte* in, int width, int up, std::size_t count,
                 const std::uint32_t* words, float* out) const;

  Layout layout_;
  std::uint32_t world_;
};

}  // namespace cpdcomm::codec
