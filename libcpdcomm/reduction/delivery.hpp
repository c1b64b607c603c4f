#pragma once

#include "reduction/blocks.hpp"
#include "reduction/scratch.hpp"

namespace cpdcomm::reduction {

/// Puts sums into the tensors, and judges what arrives. Several threads may do so at once.
class Delivery {
 public:
  Delivery(const Blocks& blocks, float divisor);

  /// Undoes the scaling of a block's sum, and puts it where it belongs.
  void store(const Block& block, const float* sum, Scratch& scratch);
  /// Decodes a block's sum and does the same.
  void deliver(const Block& block, const std::byte* result, Scratch& scratch);
  /// `delayed` scaling: the largest exponent of a range.
  void see_exponent(std::size_t tensor, std::int16_t exponent);

  // As FloatReduction has them.
  void finish();
  bool non_finite(std::size_t tensor) const { return non_finite_[tensor] != 0; }
  std::int16_t largest_exponent(std::size_t tensor) const { return largest_[tensor]; }
  bool saturated(std::size_t tensor) const;

 private:
  float* room_for_values(const Block& block, Scratch& scratch) const;
  void note_non_finite(const Block& block);

  const Blocks& blocks_;
  float divisor_;
  std::vector<std::uint8_t> non_finite_;  // per tensor; threads only ever set them
  std::vector<std::int16_t> largest_;     // per tensor; threads only ever raise them
};

}  // namespace cpdcomm::reduction
