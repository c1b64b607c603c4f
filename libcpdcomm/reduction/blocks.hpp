#pragma once

#include <algorithm>
#include <vector>

#include "numerics/scale_exponent.hpp"
#include "reduction/float_tensor.hpp"
#include "reduction/reduction.hpp"

namespace cpdcomm::reduction {

/// A format and how values are scaled for it.
struct Level {
  const codec::Codec& codec;
  int shift;
  bool saturate;
};

/// A run of values of one tensor with one exponent, at most a tile of them.
struct Block {
  const FloatTensor& tensor;
  std::size_t place;  ///< of the tensor
  std::size_t first;
  std::size_t count;
  std::size_t in_range;   ///< values of the range before this block
  std::size_t of_range;   ///< values of the range
  std::int16_t exponent;  ///< kNothing: not scaled
  bool learns;            ///< the residual becomes what the cast loses

  /// Some rank's values here are not finite.
  bool is_poisoned() const { return exponent == numerics::kNonFinite; }
  Level wire() const { return level_of(tensor.codec); }
  /// Of parts inside a host.
  Level inner() const { return level_of(tensor.inner ? *tensor.inner : tensor.codec); }
  /// What takes a host's sum from inside the host to the wire format: 2^so much.
  int shift_to_wire() const { return wire().shift - inner().shift; }

 private:
  Level level_of(const codec::Codec& codec) const {
    if (!takes_scale(codec) || tensor.only_judged) return {codec, 0, false};
    const bool scaled = exponent != numerics::kNothing;
    return {codec, numerics::shift_for(exponent, codec.emax()), scaled || tensor.is_delayed()};
  }
};

/// The tensors of a call, block by block.
class Blocks {
 public:
  /// @throws Error as check_inner
  explicit Blocks(std::vector<FloatTensor> tensors);

  const std::vector<FloatTensor>& tensors() const { return tensors_; }
  /// Values between which a tensor may be cut without changing a bit, in any of its formats.
  std::size_t alignment(std::size_t tensor) const { return alignments_[tensor]; }
  /// No block has more values.
  std::size_t tile() const { return tile_; }

  /// Calls work(Block) for the blocks of a range, in their order.
  template <typename F>
  void for_each(const Range& range, F&& work) const {
    const FloatTensor& tensor = tensors_[range.tensor];
    const std::size_t tile = tile_of(range.tensor);
    const std::size_t end = range.first + range.count;
    const bool is_learned = learns(range.tensor);
    for (std::size_t first = range.first; first < end;) {
      std::size_t stop = std::min(end, first + tile);
      std::size_t place = 0;
      if (tensor.group != 0) {
        place = first / tensor.group;
        stop = std::min(stop, (place + 1) * tensor.group);
      }
      const bool judged = !tensor.exponents.empty();
      work(Block{tensor, range.tensor, first, stop - first, first - range.first, range.count,
                 judged ? tensor.exponents[place] : numerics::kNothing, is_learned});
      first = stop;
    }
  }

 private:
  /// Of a whole tensor's exponents, found out when first asked for: then they are agreed.
  enum class Judged : std::uint8_t { not_yet, finite, non_finite };

  /// Whether the residual becomes what casts lose.
  bool learns(std::size_t tensor) const;
  std::size_t tile_of(std::size_t tensor) const {
    return std::max<std::size_t>(1, kTile / alignments_[tensor]) * alignments_[tensor];
  }

  static constexpr std::size_t kTile = 2048;  // with their sums they stay next to a core

  std::vector<FloatTensor> tensors_;
  std::vector<std::size_t> alignments_;
  mutable std::vector<Judged> judged_;  // threads that find out at once find the same
  std::size_t tile_ = 0;
};

/// Whether parts can travel in `inner` inside a host and in `wire` across hosts: both are cut at
/// the same values, and at those where the scale exponent changes.
/// @param group  values that share a scale exponent; 0: all
/// @throws Error unsupported that names the formats and what is allowed
void check_inner(Format wire, Format inner, std::size_t group);

}  // namespace cpdcomm::reduction
