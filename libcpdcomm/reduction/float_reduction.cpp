#include "reduction/float_reduction.hpp"

#include <algorithm>

#include "codec/arrays.hpp"
#include "numerics/cast.hpp"
#include "numerics/scale_exponent.hpp"
#include "reduction/element.hpp"
#include "reduction/kahan.hpp"
#include "reduction/rounded.hpp"
#include "reduction/wide.hpp"

namespace cpdcomm::reduction {
namespace {

/// Where a block stands in a message: each range has its sums first, then its compensations.
template <typename Byte>
codec::BasicPlace<Byte> field_place(const codec::Codec& codec, Byte* bytes, std::size_t field,
                                    std::size_t of_range, std::size_t in_range) {
  return {bytes + field * codec.encoded_size(of_range), of_range, in_range};
}

}  // namespace

FloatReduction::FloatReduction(std::vector<FloatTensor> tensors, bool cast_parts, float divisor,
                               std::optional<RandomStream> draws)
    : tensors_(std::move(tensors)),
      cast_parts_(cast_parts),
      emulated_(!tensors_.empty() && tensors_.front().sources.size() > 1),
      divisor_(divisor),
      draws_(draws) {
  std::size_t tile = 0;
  for (const FloatTensor& tensor : tensors_) tile = std::max(tile, tensor.codec.tile());
  for (PartialSum* sum : {&total_, &own_, &received_}) {
    sum->sum.resize(tile);
    sum->compensation.resize(tile);
  }
  values_.resize(tile);
  source_.resize(tile);
}

std::size_t FloatReduction::bytes(std::size_t tensor, std::size_t count, Payload payload,
                                  int /*parts*/) const {
  const std::size_t field = tensors_[tensor].codec.encoded_size(count);
  const bool pair = (payload == Payload::part && part_is_pair()) ||
                    (payload == Payload::partial && has_compensation());
  return pair ? 2 * field : field;
}

template <typename F>
void FloatReduction::for_each_block(const Range& range, F&& work) {
  FloatTensor& tensor = tensors_[range.tensor];
  const std::size_t end = range.first + range.count;
  for (std::size_t first = range.first; first < end;) {
    std::size_t stop = std::min(end, first + tensor.codec.tile());
    std::size_t place = 0;
    if (tensor.group != 0) {
      place = first / tensor.group;
      stop = std::min(stop, (place + 1) * tensor.group);
    }
    const bool scaled = !tensor.exponents.empty();
    const std::int16_t exponent = scaled ? tensor.exponents[place] : numerics::kNothing;
    work(Block{tensor, first, stop - first, first - range.first, range.count,
               numerics::shift_for(exponent, tensor.codec.emax()), scaled,
               exponent == numerics::kNonFinite});
    first = stop;
  }
}

const float* FloatReduction::read_source(const Block& block, std::size_t node) {
  const void* source = block.tensor.sources[node];
  if (block.tensor.type == DataType::fp32) return static_cast<const float*>(source) + block.first;
  const auto* bytes = static_cast<const std::byte*>(source);
  codec_of(block.tensor.type)
      .decode(bytes + block.first * size_of(block.tensor.type), block.count, source_.data());
  return source_.data();
}

/// A cast of this block by a node of this rank, in a phase of its own (numerics: stochastic
/// rounding).
CastOptions FloatReduction::options_of(const Block& block, std::size_t node,
                                       std::size_t phase) const {
  CastOptions options{.saturate = block.saturate, .stochastic = draws_};
  if (draws_) {
    options.stochastic->phase = static_cast<std::uint16_t>(phase);
    options.stochastic->rank = static_cast<std::uint32_t>(draws_->rank * nodes() + node);
    options.stochastic->tensor = block.tensor.place;
    options.stochastic->first = block.first;
  }
  return options;
}

CastOptions FloatReduction::cast_of_part(const Block& block, std::size_t node) const {
  CastOptions options = options_of(block, node, 0);
  options.shift = block.shift;
  return options;
}

CastOptions FloatReduction::cast_of_sum(const Block& block, std::size_t node,
                                        std::size_t parts) const {
  return options_of(block, node, parts - 1);
}

void FloatReduction::clear(PartialSum& sum, std::size_t count) const {
  std::fill_n(sum.sum.begin(), count, 0.0f);
  if (has_compensation()) std::fill_n(sum.compensation.begin(), count, 0.0f);
}

/// Joins this rank's emulated nodes, each part cast first, into own_.
void FloatReduction::read_part(const Block& block) {
  const codec::Codec& codec = block.tensor.codec;
  clear(own_, block.count);
  for (std::size_t node = 0; node < nodes(); ++node) {
    codec.round(read_source(block, node), block.count, cast_of_part(block, node), values_.data());
    add(own_, values_.data(), block.count, Cast(codec, cast_of_sum(block, node, node + 1)));
  }
}

void FloatReduction::encode_pair(const Block& block, const PartialSum& sum, std::byte* out) const {
  const codec::Codec& codec = block.tensor.codec;
  const CastOptions cast{.saturate = block.saturate};
  codec.encode(sum.sum.data(), block.count, cast,
               field_place(codec, out, 0, block.of_range, block.in_range));
  codec.encode(sum.compensation.data(), block.count, cast,
               field_place(codec, out, 1, block.of_range, block.in_range));
}

void FloatReduction::decode_pair(const Block& block, const std::byte* in, PartialSum& sum) const {
  const codec::Codec& codec = block.tensor.codec;
  codec.decode(field_place(codec, in, 0, block.of_range, block.in_range), block.count,
               sum.sum.data());
  codec.decode(field_place(codec, in, 1, block.of_range, block.in_range), block.count,
               sum.compensation.data());
}

void FloatReduction::encode_part(Slice slice, std::byte* out) {
  for (const Range& range : slice) {
    for_each_block(range, [&](const Block& block) {
      const codec::Codec& codec = block.tensor.codec;
      const codec::Place at = field_place(codec, out, 0, block.of_range, block.in_range);
      if (!emulated_) {
        codec.encode(read_source(block, 0), block.count, cast_of_part(block, 0), at);
        return;
      }
      read_part(block);
      if (part_is_pair()) {
        encode_pair(block, own_, out);
      } else {
        codec.encode(own_.sum.data(), block.count, cast_of_sum(block, nodes() - 1, nodes()), at);
      }
    });
    out += bytes(range.tensor, range.count, Payload::part, 1);
  }
}

/// This rank's part joins total_, which then holds `held` parts.
void FloatReduction::enter_own(const Block& block, std::size_t held) {
  const codec::Codec& codec = block.tensor.codec;
  const Cast cast(codec, cast_of_sum(block, nodes() - 1, held));
  if (emulated_) {
    read_part(block);
    if (has_compensation()) {
      join(total_, own_, block.count, cast);
      return;
    }
    if (cast_parts_) {
      Cast(codec, cast_of_sum(block, nodes() - 1, nodes()))(own_.sum.data(), block.count);
    }
    add(total_, own_.sum.data(), block.count, cast);
    return;
  }
  const float* part = read_source(block, 0);
  if (cast_parts_) {
    codec.round(part, block.count, cast_of_part(block, 0), values_.data());
    part = values_.data();
  } else if (block.shift != 0) {
    codec::scale(part, block.count, block.shift, values_.data());
    part = values_.data();
  }
  add(total_, part, block.count, cast);
}

/// A received part or partial sum joins total_, which then holds `held` parts.
void FloatReduction::enter(const Block& block, const Input& input, const std::byte* bytes,
                           bool first, std::size_t held) {
  const codec::Codec& codec = block.tensor.codec;
  const codec::ConstPlace place = field_place(codec, bytes, 0, block.of_range, block.in_range);
  const bool part = input.payload == Payload::part;
  const bool pair = part ? part_is_pair() : has_compensation();
  const bool goes_on = first && !part;  // a sum that has begun elsewhere
  if (pair) {
    decode_pair(block, bytes, goes_on ? total_ : received_);
  } else if (goes_on) {
    codec.decode(place, block.count, total_.sum.data());
  } else if (only_adds()) {
    codec.decode_add(place, block.count, total_.sum.data());
    return;
  } else {
    codec.decode(place, block.count, received_.sum.data());
  }
  if (goes_on) return;

  const Cast cast(codec, cast_of_sum(block, nodes() - 1, held));
  if (part && !pair) {
    add(total_, received_.sum.data(), block.count, cast);
  } else {
    join(total_, received_, block.count, cast);
  }
}

/// Joins a block's inputs and this rank's own part in their order; returns how many parts total_
/// holds then.
std::size_t FloatReduction::join_block(const Block& block, std::span<const Input> inputs,
                                       std::size_t own_after) {
  std::size_t held = 0;
  clear(total_, block.count);
  for (std::size_t i = 0; i <= inputs.size(); ++i) {
    if (i == own_after) {
      held += nodes();
      enter_own(block, held);
    }
    if (i == inputs.size()) break;
    held += static_cast<std::size_t>(inputs[i].parts) * nodes();
    enter(block, inputs[i], cursors_[i], i == 0 && own_after != 0, held);
  }
  return held;
}

void FloatReduction::join(Slice slice, std::span<const Input> inputs, std::size_t own_after,
                          Payload payload, std::byte* out) {
  cursors_.clear();
  for (const Input& input : inputs) cursors_.push_back(input.bytes);
  for (const Range& range : slice) {
    for_each_block(range, [&](const Block& block) {
      const std::size_t held = join_block(block, inputs, own_after);
      const codec::Codec& codec = block.tensor.codec;
      if (payload == Payload::partial && has_compensation()) {
        encode_pair(block, total_, out);
        return;
      }
      const std::size_t phase = payload == Payload::result ? kResultPhase : held - 1;
      codec.encode(total_.sum.data(), block.count, options_of(block, nodes() - 1, phase),
                   field_place(codec, out, 0, block.of_range, block.in_range));
    });
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      cursors_[i] += bytes(range.tensor, range.count, inputs[i].payload, inputs[i].parts);
    }
    out += bytes(range.tensor, range.count, payload, 1);
  }
}

/// Values of an FP16 or BF16 tensor, which can overflow where FP32 does not: what arrives is
/// judged.
void FloatReduction::store(const Block& block, const float* values) {
  FloatTensor& tensor = block.tensor;
  auto* const destination =
      static_cast<std::byte*>(tensor.destination) + block.first * size_of(tensor.type);
  const codec::Codec codec = codec_of(tensor.type);
  codec.encode(values, block.count, {}, destination);
  codec.decode(destination, block.count, source_.data());
  if (codec::largest_bits(source_.data(), block.count) >= numerics::kInfinity) {
    tensor.non_finite = true;
  }
}

void FloatReduction::deliver_block(const Block& block, const std::byte* result) {
  FloatTensor& tensor = block.tensor;
  const bool in_place = tensor.type == DataType::fp32;
  float* const values =
      in_place ? static_cast<float*>(tensor.destination) + block.first : values_.data();
  if (block.poisoned) {
    std::fill_n(values, block.count, numerics::float_of(numerics::kQuietNan));
    tensor.non_finite = true;
  } else {
    tensor.codec.decode(field_place(tensor.codec, result, 0, block.of_range, block.in_range),
                        block.count, values);
    if (codec::finish(values, block.count, block.shift, divisor_)) tensor.non_finite = true;
  }
  if (!in_place) store(block, values);
}

void FloatReduction::deliver(Slice slice, const std::byte* result) {
  for (const Range& range : slice) {
    for_each_block(range, [&](const Block& block) { deliver_block(block, result); });
    result += bytes(range.tensor, range.count, Payload::result, 1);
  }
}

std::unique_ptr<FloatReduction> make_float_reduction(Accumulate accumulate,
                                                     std::vector<FloatTensor> tensors,
                                                     bool parts_travel, float divisor,
                                                     std::optional<RandomStream> draws) {
  switch (accumulate) {
    case Accumulate::wide:
      return std::make_unique<Wide>(std::move(tensors), parts_travel, divisor, draws);
    case Accumulate::rounded:
      return std::make_unique<Rounded>(std::move(tensors), true, divisor, draws);
    case Accumulate::kahan:
      return std::make_unique<Kahan>(std::move(tensors), true, divisor, draws);
  }
  throw Error(ErrorCode::invalid_argument, "unknown accumulate");
}

}  // namespace cpdcomm::reduction
