#include "reduction/float_reduction.hpp"

#include <algorithm>
#include <atomic>

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

Scratch& Scratch::of_this_thread(std::size_t tile) {
  thread_local Scratch scratch;
  if (scratch.values.size() < tile) {
    for (PartialSum* sum : {&scratch.total, &scratch.own, &scratch.received}) {
      sum->sum.resize(tile);
      sum->compensation.resize(tile);
    }
    scratch.values.resize(tile);
    scratch.source.resize(tile);
  }
  return scratch;
}

FloatReduction::FloatReduction(std::vector<FloatTensor> tensors, bool cast_parts, float divisor,
                               std::optional<RandomStream> draws)
    : tensors_(std::move(tensors)),
      cast_parts_(cast_parts),
      emulated_(!tensors_.empty() && tensors_.front().sources.size() > 1),
      divisor_(divisor),
      draws_(draws),
      non_finite_(tensors_.size(), 0) {
  for (const FloatTensor& tensor : tensors_) tile_ = std::max(tile_, tensor.codec.tile());
}

std::size_t FloatReduction::bytes(std::size_t tensor, std::size_t count, Content content) const {
  const std::size_t field = tensors_[tensor].codec.encoded_size(count);
  const bool pair = (content.payload == Payload::part && part_is_pair()) ||
                    (content.payload == Payload::partial && has_compensation());
  return pair ? 2 * field : field;
}

template <typename F>
void FloatReduction::for_each_block(const Range& range, F&& work) const {
  const FloatTensor& tensor = tensors_[range.tensor];
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
    work(Block{range.tensor, tensor, first, stop - first, first - range.first, range.count,
               numerics::shift_for(exponent, tensor.codec.emax()), scaled,
               exponent == numerics::kNonFinite});
    first = stop;
  }
}

const float* FloatReduction::read_source(const Block& block, std::size_t node,
                                         Scratch& scratch) const {
  const void* source = block.tensor.sources[node];
  if (block.tensor.type == DataType::fp32) return static_cast<const float*>(source) + block.first;
  const auto* bytes = static_cast<const std::byte*>(source);
  codec_of(block.tensor.type)
      .decode(bytes + block.first * size_of(block.tensor.type), block.count, scratch.source.data());
  return scratch.source.data();
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

/// Joins this rank's emulated nodes, each part cast first, into scratch.own.
void FloatReduction::read_part(const Block& block, Scratch& scratch) const {
  const codec::Codec& codec = block.tensor.codec;
  float* const values = scratch.values.data();
  clear(scratch.own, block.count);
  for (std::size_t node = 0; node < nodes(); ++node) {
    codec.round(read_source(block, node, scratch), block.count, cast_of_part(block, node), values);
    add(scratch.own, values, block.count, Cast(codec, cast_of_sum(block, node, node + 1)));
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

void FloatReduction::encode_part(Slice slice, const Host& /*host*/, Leg /*leg*/, std::byte* out) {
  Scratch& scratch = this->scratch();
  for (const Range& range : slice) {
    for_each_block(range, [&](const Block& block) {
      const codec::Codec& codec = block.tensor.codec;
      const codec::Place at = field_place(codec, out, 0, block.of_range, block.in_range);
      if (!emulated_) {
        codec.encode(read_source(block, 0, scratch), block.count, cast_of_part(block, 0), at);
        return;
      }
      read_part(block, scratch);
      if (part_is_pair()) {
        encode_pair(block, scratch.own, out);
      } else {
        codec.encode(scratch.own.sum.data(), block.count, cast_of_sum(block, nodes() - 1, nodes()),
                     at);
      }
    });
    out += bytes(range.tensor, range.count, {Payload::part, 1});
  }
}

/// This rank's part joins scratch.total, which then holds `held` parts.
void FloatReduction::enter_own(const Block& block, std::size_t held, Scratch& scratch) const {
  const codec::Codec& codec = block.tensor.codec;
  const Cast cast(codec, cast_of_sum(block, nodes() - 1, held));
  if (emulated_) {
    read_part(block, scratch);
    if (has_compensation()) {
      join(scratch.total, scratch.own, block.count, cast);
      return;
    }
    float* const sum = scratch.own.sum.data();
    if (cast_parts_) Cast(codec, cast_of_sum(block, nodes() - 1, nodes()))(sum, block.count);
    add(scratch.total, sum, block.count, cast);
    return;
  }
  const float* part = read_source(block, 0, scratch);
  float* const values = scratch.values.data();
  if (cast_parts_) {
    codec.round(part, block.count, cast_of_part(block, 0), values);
    part = values;
  } else if (block.shift != 0) {
    codec::scale(part, block.count, block.shift, values);
    part = values;
  }
  add(scratch.total, part, block.count, cast);
}

/// A received part or partial sum joins scratch.total, which then holds `held` parts.
void FloatReduction::enter(const Block& block, const Input& input, const std::byte* bytes,
                           bool first, std::size_t held, Scratch& scratch) const {
  const codec::Codec& codec = block.tensor.codec;
  const codec::ConstPlace place = field_place(codec, bytes, 0, block.of_range, block.in_range);
  const bool part = input.payload == Payload::part;
  const bool pair = part ? part_is_pair() : has_compensation();
  const bool goes_on = first && !part;  // a sum that has begun elsewhere
  if (pair) {
    decode_pair(block, bytes, goes_on ? scratch.total : scratch.received);
  } else if (goes_on) {
    codec.decode(place, block.count, scratch.total.sum.data());
  } else if (only_adds()) {
    codec.decode_add(place, block.count, scratch.total.sum.data());
    return;
  } else {
    codec.decode(place, block.count, scratch.received.sum.data());
  }
  if (goes_on) return;

  const Cast cast(codec, cast_of_sum(block, nodes() - 1, held));
  if (part && !pair) {
    add(scratch.total, scratch.received.sum.data(), block.count, cast);
  } else {
    join(scratch.total, scratch.received, block.count, cast);
  }
}

/// Joins a block's inputs and this rank's own part in their order; returns how many parts
/// scratch.total holds then.
std::size_t FloatReduction::join_block(const Block& block, const Join& join,
                                       Scratch& scratch) const {
  std::size_t held = 0;
  clear(scratch.total, block.count);
  for (std::size_t i = 0; i <= join.inputs.size(); ++i) {
    if (i == join.own_after) {
      held += nodes();
      enter_own(block, held, scratch);
    }
    if (i == join.inputs.size()) break;
    const Input& input = join.inputs[i];
    held += static_cast<std::size_t>(input.parts) * nodes();
    enter(block, input, scratch.cursors[i], i == 0 && join.own_after != 0, held, scratch);
  }
  return held;
}

/// Calls work(block, parts that scratch.total holds, range) after each block's join.
template <typename F>
void FloatReduction::join_each_block(Slice slice, const Join& join, F&& work) const {
  Scratch& scratch = this->scratch();
  scratch.cursors.clear();
  for (const Input& input : join.inputs) scratch.cursors.push_back(input.bytes);
  for (const Range& range : slice) {
    for_each_block(range,
                   [&](const Block& block) { work(block, join_block(block, join, scratch)); });
    for (std::size_t i = 0; i < join.inputs.size(); ++i) {
      const Input& input = join.inputs[i];
      scratch.cursors[i] += bytes(range.tensor, range.count, {input.payload, input.parts});
    }
  }
}

void FloatReduction::join(Slice slice, const Join& join, Content content, std::byte* out) {
  Scratch& scratch = this->scratch();
  std::size_t place = 0;
  join_each_block(slice, join, [&](const Block& block, std::size_t held) {
    const codec::Codec& codec = block.tensor.codec;
    std::byte* const at = out + place;
    if (block.in_range + block.count == block.of_range) {
      place += bytes(block.place, block.of_range, content);
    }
    if (content.payload == Payload::partial && has_compensation()) {
      encode_pair(block, scratch.total, at);
      return;
    }
    const std::size_t phase = content.payload == Payload::result ? kResultPhase : held - 1;
    codec.encode(scratch.total.sum.data(), block.count, options_of(block, nodes() - 1, phase),
                 field_place(codec, at, 0, block.of_range, block.in_range));
  });
}

void FloatReduction::keep(Slice slice, const Join& join) {
  Scratch& scratch = this->scratch();
  join_each_block(slice, join, [&](const Block& block, std::size_t /*held*/) {
    float* const values = room_for_values(block, scratch);
    std::copy_n(scratch.total.sum.data(), block.count, values);
    store(block, values, scratch);
  });
}

void FloatReduction::note_non_finite(const Block& block) {
  std::atomic_ref(non_finite_[block.place]).store(1, std::memory_order_relaxed);
}

/// Where a block's FP32 values are worked on: in their place if that is FP32.
float* FloatReduction::room_for_values(const Block& block, Scratch& scratch) const {
  if (block.tensor.type != DataType::fp32) return scratch.values.data();
  return static_cast<float*>(block.tensor.destination) + block.first;
}

/// Undoes the scaling of a block's sum, and puts it where it belongs. In an FP16 or BF16 tensor a
/// sum can overflow where FP32 does not: what arrives is judged.
void FloatReduction::store(const Block& block, float* values, Scratch& scratch) {
  if (block.poisoned) {
    std::fill_n(values, block.count, numerics::float_of(numerics::kQuietNan));
    note_non_finite(block);
  } else if (codec::finish(values, block.count, block.shift, divisor_)) {
    note_non_finite(block);
  }
  const FloatTensor& tensor = block.tensor;
  if (tensor.type == DataType::fp32) return;
  auto* const destination =
      static_cast<std::byte*>(tensor.destination) + block.first * size_of(tensor.type);
  const codec::Codec codec = codec_of(tensor.type);
  codec.encode(values, block.count, {}, destination);
  codec.decode(destination, block.count, scratch.source.data());
  if (codec::largest_bits(scratch.source.data(), block.count) >= numerics::kInfinity) {
    note_non_finite(block);
  }
}

void FloatReduction::deliver(Slice slice, const std::byte* result) {
  Scratch& scratch = this->scratch();
  for (const Range& range : slice) {
    for_each_block(range, [&](const Block& block) {
      float* const values = room_for_values(block, scratch);
      const codec::Codec& codec = block.tensor.codec;
      codec.decode(field_place(codec, result, 0, block.of_range, block.in_range), block.count,
                   values);
      store(block, values, scratch);
    });
    result += bytes(range.tensor, range.count, {Payload::result, 1});
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
    case Accumulate::exact:
    case Accumulate::majority:
      break;
  }
  throw Error(ErrorCode::invalid_argument, "unknown accumulate");
}

}  // namespace cpdcomm::reduction
