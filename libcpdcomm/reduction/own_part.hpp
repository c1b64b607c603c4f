#pragma once

#include "reduction/casts.hpp"
#include "reduction/scratch.hpp"

namespace cpdcomm::reduction {

/// This rank's own part of a block, or one of its nodes': how it is read and cast.
///
/// In a call each value is read once: with error feedback that is when its residual changes, and
/// with `delayed` scaling when its exponent is noted (in Scratch::largest).
class OwnPart {
 public:
  explicit OwnPart(const Casts& casts) : casts_(casts) {}

  void encode(const Block& block, const Level& level, codec::Place out, Scratch& scratch) const;
  /// decode(encode(part)), in scratch.values or where the part is.
  const float* round(const Block& block, const Level& level, std::size_t node,
                     Scratch& scratch) const;
  /// The part as it is, scaled for the wire format.
  const float* scale(const Block& block, Scratch& scratch) const;

 private:
  const float* read(const Block& block, std::size_t node, Scratch& scratch) const;

  const Casts& casts_;
};

}  // namespace cpdcomm::reduction
