#include "reduction/float_messages.hpp"

#include <cstring>

#include "codec/arrays.hpp"

namespace cpdcomm::reduction {
namespace {

/// Compensations stand behind all sums of their range.
template <typename Byte>
codec::BasicPlace<Byte> place_of_compensation(const Block& block, Byte* bytes) {
  return place_of(block, bytes + block.tensor.codec.encoded_size(block.of_range));
}

}  // namespace

bool FloatMessages::is_pair(const FloatTensor& tensor, Content content) const {
  switch (content.payload) {
    case Payload::part:
      return content.leg == Leg::across_hosts && part_is_pair(tensor);
    case Payload::partial:
      return compensated_;
    case Payload::result:
      break;
  }
  return false;
}

std::size_t FloatMessages::bytes(const FloatTensor& tensor, std::size_t count,
                                 Content content) const {
  const bool inside = content.payload == Payload::part && content.leg == Leg::inside_host;
  const codec::Codec& codec = inside && tensor.inner ? *tensor.inner : tensor.codec;
  const std::size_t field = codec.encoded_size(count);
  return (is_pair(tensor, content) ? 2 * field : field) +
         (tensor.is_delayed() ? sizeof(std::int16_t) : 0);
}

void encode_pair(const Block& block, const PartialSum& sum, std::byte* out) {
  const Level wire = block.wire();
  const CastOptions cast{.saturate = wire.saturate};
  wire.codec.encode(sum.sum.data(), block.count, cast, place_of(block, out));
  wire.codec.encode(sum.compensation.data(), block.count, cast, place_of_compensation(block, out));
}

void decode_pair(const Block& block, const std::byte* in, PartialSum& sum) {
  const codec::Codec& codec = block.tensor.codec;
  codec.decode(place_of(block, in), block.count, sum.sum.data());
  codec.decode(place_of_compensation(block, in), block.count, sum.compensation.data());
}

const float* values_in_place(const codec::Codec& codec, codec::ConstPlace in) {
  if (!codec.format().is_fp32()) return nullptr;
  const std::byte* const codes = in.codes(codec.layout());
  const bool aligned = reinterpret_cast<std::uintptr_t>(codes) % alignof(float) == 0;
  return aligned ? reinterpret_cast<const float*>(codes) : nullptr;
}

void decode_add(const codec::Codec& codec, codec::ConstPlace in, std::size_t count, float* sum) {
  if (const float* const values = values_in_place(codec, in)) {
    codec::add(sum, values, count);
  } else {
    codec.decode_add(in, count, sum);
  }
}

void put_exponent(const FloatTensor& tensor, std::int16_t exponent, std::byte* end) {
  if (tensor.is_delayed()) std::memcpy(end - sizeof exponent, &exponent, sizeof exponent);
}

std::int16_t get_exponent(const FloatTensor& tensor, const std::byte* end) {
  std::int16_t exponent = numerics::kNothing;
  if (tensor.is_delayed()) std::memcpy(&exponent, end - sizeof exponent, sizeof exponent);
  return exponent;
}

}  // namespace cpdcomm::reduction
