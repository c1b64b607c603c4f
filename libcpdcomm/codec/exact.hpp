#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "codec/layout.hpp"
#include "cpdcomm/codec.hpp"

namespace cpdcomm::codec {

/// What sums that lose nothing are made of: the codes of `bfpK` and `intK` on scales that all ranks
/// share, as integers that are added. A sum of j parts takes K + ceil(log2 j) bits a value; how it
/// is packed is told in codec/integers.hpp.
///
/// A scale travels as one 32-bit word a block, of which the ranks take the MAX: of `bfp` the
/// exponent byte, of `int` the bits of the largest magnitude. Both say NaN with what is largest.
///
/// Spans start at a block. The floating-point environment is the default. No call allocates.
class Exact {
 public:
  /// @param world  the most parts that a sum will have, at least 1
  /// @throws Error unsupported for another format than `bfp` and `int`, and where the sum of all
  ///         parts would take more than 29 bits
  Exact(Format format, std::uint32_t world);

  /// Bits of one value in a sum of `parts`.
  int bits(std::uint32_t parts) const;
  /// Values that share a scale.
  std::size_t block() const { return layout_.block; }
  /// Scale words of `count` values.
  std::size_t blocks(std::size_t count) const { return layout_.blocks(count); }

  /// The word of a block, from the FP32 bits of its largest magnitude.
  std::uint32_t word(std::uint32_t largest_bits) const;
  /// A rank's own words.
  void scales(const float* in, std::size_t count, std::uint32_t* words) const;
  /// Bytes that hold every word.
  std::size_t word_bytes() const { return words_are_bytes() ? 1 : sizeof(std::uint32_t); }
  /// Whether a word says that the block is NaN.
  bool is_nan(std::uint32_t word) const;

  /// The integers of `count` values, nearest-even or with the words of a stream; 0 in blocks whose
  /// word says NaN.
  /// @param words  the MAX of all ranks' words
  void integers(const float* in, std::size_t count, const std::uint32_t* words,
                const std::optional<RandomStream>& stochastic, std::int32_t* out) const;

  /// FP32 values of sums times 2^up, each rounded once, at most the largest finite value.
  /// @param up  from -500 to 500
  void values(const std::int32_t* sums, std::size_t count, const std::uint32_t* words, int up,
              float* out) const;

  /// `result="wire"`: casts sums of all parts to K bits on the scale times 2^result_growth(), in
  /// their place.
  void cast_result(std::int32_t* sums, std::size_t count,
                   const std::optional<RandomStream>& stochastic) const;
  int result_growth() const;

 private:
  bool words_are_bytes() const { return layout_.format.kind() == Format::Kind::bfp; }

  Layout layout_;
  std::uint32_t world_;
};

}  // namespace cpdcomm::codec
