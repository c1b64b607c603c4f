#include "reduction/float_reduction.hpp"

#include <algorithm>
#include <cmath>

#include "numerics/cast.hpp"
#include "numerics/scale_exponent.hpp"
#include "reduction/element.hpp"
#include "reduction/kahan.hpp"
#include "reduction/rounded.hpp"
#include "reduction/wide.hpp"

namespace cpdcomm::reduction {
namespace {

void clear(PartialSum& sum, std::size_t count) {
  std::fill_n(sum.sum.begin(), count, 0.0f);
  std::fill_n(sum.compensation.begin(), count, 0.0f);
}

/// Where a block stands in a message: each range has its sums first, then its compensations.
template <typename Byte>
codec::BasicPlace<Byte> field_place(const codec::Codec& codec, Byte* bytes, std::size_t field,
                                    std::size_t of_range, std::size_t in_range) {
  return {bytes + field * codec.encoded_size(of_range), of_range, in_range};
}

}  // namespace

FloatReduction::FloatReduction(std::vector<FloatTensor> tensors, bool cast_parts, float divisor)
    : tensors_(std::move(tensors)),
      cast_parts_(cast_parts),
      emulated_(!tensors_.empty() && tensors_.front().sources.size() > 1),
      divisor_(divisor) {
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

/// Joins this rank's emulated nodes, each part cast first, into own_.
void FloatReduction::read_part(const Block& block) {
  const Cast cast(block.tensor.codec, block.saturate);
  clear(own_, block.count);
  for (std::size_t node = 0; node < block.tensor.sources.size(); ++node) {
    block.tensor.codec.round(read_source(block, node), block.count,
                             {.shift = block.shift, .saturate = block.saturate}, values_.data());
    add(own_, values_.data(), block.count, cast);
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
        codec.encode(read_source(block, 0), block.count,
                     {.shift = block.shift, .saturate = block.saturate}, at);
        return;
      }
      read_part(block);
      if (part_is_pair()) {
        encode_pair(block, own_, out);
      } else {
        codec.encode(own_.sum.data(), block.count, {.saturate = block.saturate}, at);
      }
    });
    out += bytes(range.tensor, range.count, Payload::part, 1);
  }
}

/// This rank's part joins total_.
void FloatReduction::enter_own(const Block& block) {
  const Cast cast(block.tensor.codec, block.saturate);
  if (emulated_) {
    read_part(block);
    if (has_compensation()) {
      join(total_, own_, block.count, cast);
      return;
    }
    if (cast_parts_) cast(own_.sum.data(), block.count);
    add(total_, own_.sum.data(), block.count, cast);
    return;
  }
  const float* source = read_source(block, 0);
  if (cast_parts_) {
    block.tensor.codec.round(source, block.count,
                             {.shift = block.shift, .saturate = block.saturate}, values_.data());
  } else {
    std::transform(source, source + block.count, values_.begin(),
                   [&](float x) { return numerics::scale_value(x, block.shift); });
  }
  add(total_, values_.data(), block.count, cast);
}

/// A received part or partial sum joins total_.
void FloatReduction::enter(const Block& block, Payload payload, const std::byte* bytes,
                           bool first) {
  const codec::Codec& codec = block.tensor.codec;
  const Cast cast(codec, block.saturate);
  const bool part = payload == Payload::part;
  const bool pair = part ? part_is_pair() : has_compensation();
  if (pair) {
    decode_pair(block, bytes, received_);
  } else {
    codec.decode(field_place(codec, bytes, 0, block.of_range, block.in_range), block.count,
                 received_.sum.data());
  }
  if (part && !pair) {
    add(total_, received_.sum.data(), block.count, cast);
  } else if (first && !part) {
    std::swap(total_, received_);  // a sum that has begun elsewhere goes on
  } else {
    join(total_, received_, block.count, cast);
  }
}

void FloatReduction::join(Slice slice, std::span<const Input> inputs, std::size_t own_after,
                          Payload payload, std::byte* out) {
  cursors_.clear();
  for (const Input& input : inputs) cursors_.push_back(input.bytes);
  for (const Range& range : slice) {
    for_each_block(range, [&](const Block& block) {
      clear(total_, block.count);
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        if (i == own_after) enter_own(block);
        enter(block, inputs[i].payload, cursors_[i], i == 0 && own_after != 0);
      }
      if (own_after == inputs.size()) enter_own(block);

      const codec::Codec& codec = block.tensor.codec;
      if (payload == Payload::partial && has_compensation()) {
        encode_pair(block, total_, out);
      } else {
        codec.encode(total_.sum.data(), block.count, {.saturate = block.saturate},
                     field_place(codec, out, 0, block.of_range, block.in_range));
      }
    });
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      cursors_[i] += bytes(range.tensor, range.count, inputs[i].payload, inputs[i].parts);
    }
    out += bytes(range.tensor, range.count, payload, 1);
  }
}

void FloatReduction::store(const Block& block) {
  const auto values = std::span(values_).first(block.count);
  auto* destination =
      static_cast<std::byte*>(block.tensor.destination) + block.first * size_of(block.tensor.type);
  const codec::Codec codec = codec_of(block.tensor.type);
  // An FP16 or BF16 tensor can overflow where FP32 does not: what arrives is what is judged.
  codec.round(values.data(), values.size(), {}, values.data());
  codec.encode(values.data(), values.size(), {}, destination);
  for (const float value : values) {
    if (!std::isfinite(value)) block.tensor.non_finite = true;
  }
}

void FloatReduction::deliver_block(const Block& block, const std::byte* result) {
  const codec::Codec& codec = block.tensor.codec;
  codec.decode(field_place(codec, result, 0, block.of_range, block.in_range), block.count,
               values_.data());
  const float nan = numerics::float_of(numerics::kQuietNan);
  for (float& value : std::span(values_).first(block.count)) {
    value = numerics::scale_value(value, -block.shift) / divisor_;
    if (block.poisoned || std::isnan(value)) value = nan;
  }
  store(block);
}

void FloatReduction::deliver(Slice slice, const std::byte* result) {
  for (const Range& range : slice) {
    for_each_block(range, [&](const Block& block) { deliver_block(block, result); });
    result += bytes(range.tensor, range.count, Payload::result, 1);
  }
}

std::unique_ptr<FloatReduction> make_float_reduction(Accumulate accumulate,
                                                     std::vector<FloatTensor> tensors,
                                                     bool parts_travel, float divisor) {
  switch (accumulate) {
    case Accumulate::wide:
      return std::make_unique<Wide>(std::move(tensors), parts_travel, divisor);
    case Accumulate::rounded:
      return std::make_unique<Rounded>(std::move(tensors), true, divisor);
    case Accumulate::kahan:
      return std::make_unique<Kahan>(std::move(tensors), true, divisor);
  }
  throw Error(ErrorCode::invalid_argument, "unknown accumulate");
}

}  // namespace cpdcomm::reduction
