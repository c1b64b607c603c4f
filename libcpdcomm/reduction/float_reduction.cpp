#include "reduction/float_reduction.hpp"

#include <algorithm>

#include "codec/arrays.hpp"

namespace cpdcomm::reduction {
namespace {

std::size_t nodes_of(const std::vector<FloatTensor>& tensors) {
  return tensors.empty() ? 1 : tensors.front().sources.size();
}

void begin(std::span<const Input> inputs, std::vector<const std::byte*>& cursors) {
  cursors.clear();
  for (const Input& input : inputs) cursors.push_back(input.bytes);
}

}  // namespace

FloatReduction::FloatReduction(const Summation& summation, std::vector<FloatTensor> tensors,
                               bool cast_parts, float divisor, std::optional<RandomStream> draws,
                               const std::vector<std::uint32_t>& host_ranks)
    : summation_(summation),
      blocks_(std::move(tensors)),
      cast_parts_(cast_parts),
      nodes_(nodes_of(blocks_.tensors())),
      messages_(summation.has_compensation(), nodes_ > 1 || !host_ranks.empty()),
      casts_(draws, nodes_, host_ranks),
      own_(casts_),
      host_(summation, messages_, casts_, own_, nodes_),
      delivery_(blocks_, divisor) {}

void FloatReduction::encode_block(const Block& block, const Host& host, Leg leg, std::byte* out,
                                  Scratch& scratch) const {
  const codec::Place at = place_of(block, out);
  if (leg == Leg::inside_host) {
    own_.encode(block, block.inner(), at, scratch);
  } else if (!host_.is_sum(block.tensor, host)) {
    own_.encode(block, block.wire(), at, scratch);
  } else {
    host_.sum(block, host, scratch);
    if (messages_.part_is_pair(block.tensor)) {
      encode_pair(block, scratch.own, out);
    } else {
      encode_scaled(block.tensor.codec, scratch.own.sum.data(), block.count,
                    host_.cast(block, host), at, scratch.scaled);
    }
  }
}

void FloatReduction::encode_part(Slice slice, const Host& host, Leg leg, std::byte* out) {
  Scratch& scratch = this->scratch();
  begin(host.inputs, scratch.host_cursors);
  for (const Range& range : slice) {
    scratch.largest = numerics::kNothing;
    blocks_.for_each(range,
                     [&](const Block& block) { encode_block(block, host, leg, out, scratch); });
    pass(range, host.inputs, Leg::inside_host, scratch.host_cursors, scratch);
    out += bytes(range.tensor, range.count, {Payload::part, 1, leg});
    put_exponent(tensor(range), scratch.largest, out);
  }
}

/// The host's part joins scratch.total, which then holds `held` parts.
void FloatReduction::enter_own(const Block& block, const Host& host, std::size_t held,
                               Scratch& scratch) const {
  const codec::Codec& codec = block.tensor.codec;
  const Cast cast(codec, casts_.of_sum(block, held));
  if (!host_.is_sum(block.tensor, host)) {
    const bool casts = cast_parts_ || block.tensor.residual != nullptr;
    const float* const part =
        casts ? own_.round(block, block.wire(), 0, scratch) : own_.scale(block, scratch);
    summation_.add(scratch.total, part, block.count, cast);
    return;
  }
  host_.sum(block, host, scratch);
  if (messages_.part_is_pair(block.tensor)) {
    summation_.join(scratch.total, scratch.own, block.count, cast);
    return;
  }
  float* const sum = scratch.own.sum.data();
  if (cast_parts_) {
    round_scaled(codec, sum, block.count, host_.cast(block, host), sum);
  } else if (block.shift_to_wire() != 0) {
    codec::scale(sum, block.count, block.shift_to_wire(), sum);
  }
  summation_.add(scratch.total, sum, block.count, cast);
}

/// scratch.total becomes a partial sum that has begun elsewhere.
void FloatReduction::go_on(const Block& block, const std::byte* bytes, Scratch& scratch) const {
  if (summation_.has_compensation()) {
    decode_pair(block, bytes, scratch.total);
  } else {
    block.tensor.codec.decode(place_of(block, bytes), block.count, scratch.total.sum.data());
  }
}

/// A received part or partial sum joins scratch.total, which then holds `held` parts.
void FloatReduction::enter(const Block& block, const Input& input, const std::byte* bytes,
                           std::size_t held, Scratch& scratch) const {
  const codec::Codec& codec = block.tensor.codec;
  const codec::ConstPlace place = place_of(block, bytes);
  if (summation_.only_adds()) {
    decode_add(codec, place, block.count, scratch.total.sum.data());
    return;
  }
  const Cast cast(codec, casts_.of_sum(block, held));
  const bool pair = messages_.is_pair(block.tensor, {input.payload, input.parts});
  if (pair) {
    decode_pair(block, bytes, scratch.received);
  } else {
    codec.decode(place, block.count, scratch.received.sum.data());
  }
  if (input.payload == Payload::part && !pair) {
    summation_.add(scratch.total, scratch.received.sum.data(), block.count, cast);
  } else {
    summation_.join(scratch.total, scratch.received, block.count, cast);
  }
}

/// Joins a block's inputs and the host's part in their order; returns how many parts scratch.total
/// holds then.
std::size_t FloatReduction::join_block(const Block& block, const Join& join,
                                       Scratch& scratch) const {
  const bool goes_on = join.own_after != 0 && join.inputs[0].payload == Payload::partial;
  std::size_t held = 0;
  if (!goes_on) summation_.clear(scratch.total, block.count);
  for (std::size_t i = 0; i <= join.inputs.size(); ++i) {
    if (i == join.own_after) {
      held += host_.parts(join.host);
      enter_own(block, join.host, held, scratch);
    }
    if (i == join.inputs.size()) break;
    held += static_cast<std::size_t>(join.inputs[i].parts) * nodes_;
    if (i == 0 && goes_on) {
      go_on(block, scratch.cursors[0], scratch);
    } else {
      enter(block, join.inputs[i], scratch.cursors[i], held, scratch);
    }
  }
  return held;
}

/// Takes messages' cursors past a range, and sees the exponents that they carry.
void FloatReduction::pass(const Range& range, std::span<const Input> inputs, Leg leg,
                          std::vector<const std::byte*>& cursors, Scratch& scratch) const {
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    cursors[i] += bytes(range.tensor, range.count, {inputs[i].payload, inputs[i].parts, leg});
    scratch.largest = std::max(scratch.largest, get_exponent(tensor(range), cursors[i]));
  }
}

/// Calls work(block, parts that scratch.total holds) after each block's join, and done(range) after
/// each range's; scratch.largest is then the exponent of all its parts.
template <typename Work, typename Done>
void FloatReduction::join_each(Slice slice, const Join& join, Work&& work, Done&& done) const {
  Scratch& scratch = this->scratch();
  begin(join.inputs, scratch.cursors);
  begin(join.host.inputs, scratch.host_cursors);
  for (const Range& range : slice) {
    scratch.largest = numerics::kNothing;
    blocks_.for_each(range,
                     [&](const Block& block) { work(block, join_block(block, join, scratch)); });
    pass(range, join.inputs, Leg::across_hosts, scratch.cursors, scratch);
    pass(range, join.host.inputs, Leg::inside_host, scratch.host_cursors, scratch);
    done(range);
  }
}

void FloatReduction::join(Slice slice, const Join& join, Content content, std::byte* out) {
  Scratch& scratch = this->scratch();
  const auto encode = [&](const Block& block, std::size_t held) {
    if (messages_.is_pair(block.tensor, content)) {
      encode_pair(block, scratch.total, out);
      return;
    }
    const bool is_result = content.payload == Payload::result;
    block.tensor.codec.encode(scratch.total.sum.data(), block.count,
                              is_result ? casts_.of_result(block) : casts_.of_sum(block, held),
                              place_of(block, out));
  };
  join_each(slice, join, encode, [&](const Range& range) {
    out += bytes(range.tensor, range.count, content);
    put_exponent(tensor(range), scratch.largest, out);
  });
}

void FloatReduction::keep(Slice slice, const Join& join) {
  Scratch& scratch = this->scratch();
  const auto store = [&](const Block& block, std::size_t /*held*/) {
    delivery_.store(block, scratch.total.sum.data(), scratch);
  };
  join_each(slice, join, store, [](const Range&) {});
}

void FloatReduction::deliver(Slice slice, const std::byte* result) {
  Scratch& scratch = this->scratch();
  for (const Range& range : slice) {
    blocks_.for_each(range, [&](const Block& block) { delivery_.deliver(block, result, scratch); });
    result += bytes(range.tensor, range.count, {Payload::result, 1});
    delivery_.see_exponent(range.tensor, get_exponent(tensor(range), result));
  }
}

std::unique_ptr<FloatReduction> make_float_reduction(Accumulate accumulate,
                                                     std::vector<FloatTensor> tensors,
                                                     bool parts_travel, float divisor,
                                                     std::optional<RandomStream> draws,
                                                     const std::vector<std::uint32_t>& host_ranks) {
  const bool cast_parts = parts_travel || accumulate != Accumulate::wide;
  return std::make_unique<FloatReduction>(summation_for(accumulate), std::move(tensors), cast_parts,
                                          divisor, draws, host_ranks);
}

}  // namespace cpdcomm::reduction
