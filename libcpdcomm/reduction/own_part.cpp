#include "reduction/own_part.hpp"

#include <algorithm>

#include "codec/arrays.hpp"
#include "reduction/elements.hpp"
#include "reduction/shared_scales.hpp"

namespace cpdcomm::reduction {
namespace {

/// The residual becomes what the cast has lost, in the scale of the source.
void learn(const Block& block, const Level& level, const float* part, const float* cast) {
  if (!block.learns) return;
  codec::cast_error(part, cast, block.count, level.shift + block.tensor.input_exponent,
                    block.tensor.residual + block.first);
}

}  // namespace

const float* OwnPart::read(const Block& block, std::size_t node, Scratch& scratch) const {
  const FloatTensor& tensor = block.tensor;
  const float* const part =
      read_elements(tensor.sources[node], tensor.input_type(), tensor.residual, block.first,
                    block.count, scratch.source.data());
  if (tensor.is_delayed()) {
    const std::uint32_t largest = codec::largest_bits(part, block.count);
    scratch.largest = std::max(scratch.largest,
                               aps_exponent(largest, tensor.input_exponent, tensor.delayed_world));
  }
  return part;
}

void OwnPart::encode(const Block& block, const Level& level, codec::Place out,
                     Scratch& scratch) const {
  const float* const part = read(block, 0, scratch);
  encode_scaled(level.codec, part, block.count, casts_.of_part(block, level, 0), out,
                scratch.scaled);
  if (!block.learns) return;
  level.codec.decode({out.bytes, out.of, out.first}, block.count, scratch.values.data());
  learn(block, level, part, scratch.values.data());
}

const float* OwnPart::round(const Block& block, const Level& level, std::size_t node,
                            Scratch& scratch) const {
  const float* const part = read(block, node, scratch);
  const CastOptions cast = casts_.of_part(block, level, node);
  const float* rounded = part;
  if (!level.codec.format().is_fp32() || cast.shift != 0) {
    round_scaled(level.codec, part, block.count, cast, scratch.values.data());
    rounded = scratch.values.data();
  }
  learn(block, level, part, rounded);
  return rounded;
}

const float* OwnPart::scale(const Block& block, Scratch& scratch) const {
  const float* const part = read(block, 0, scratch);
  const int shift = block.wire().shift + block.tensor.input_exponent;
  if (shift == 0) return part;
  codec::scale(part, block.count, shift, scratch.values.data());
  return scratch.values.data();
}

}  // namespace cpdcomm::reduction
