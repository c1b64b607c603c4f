#include "codec/float_codec.hpp"

#include "codec/bit_stream.hpp"

namespace cpdcomm::codec {

FloatCodec::FloatCodec(Format format) : layout_(format), bits_(format.code_bits()) {}

std::size_t FloatCodec::encoded_size(std::size_t count) const {
  // Whole bytes first: count * bits would overflow for counts near 2^59.
  const auto bits = static_cast<std::size_t>(bits_);
  return count / 8 * bits + (count % 8 * bits + 7) / 8;
}

void FloatCodec::encode(const float* in, std::size_t count, CastOptions cast,
                        std::byte* out) const {
  BitWriter writer(out, bits_);
  for (std::size_t i = 0; i < count; ++i) {
    writer.put(numerics::encode_value(in[i], cast.shift, layout_, cast.saturate));
  }
  writer.finish();
}

void FloatCodec::decode(const std::byte* in, std::size_t count, float* out) const {
  BitReader reader(in, encoded_size(count), bits_);
  for (std::size_t i = 0; i < count; ++i) out[i] = numerics::decode_value(reader.get(), layout_);
}

void FloatCodec::round(const float* in, std::size_t count, CastOptions cast, float* out) const {
  for (std::size_t i = 0; i < count; ++i) {
    out[i] = numerics::cast_value(in[i], cast.shift, layout_, cast.saturate);
  }
}

}  // namespace cpdcomm::codec
