// eXmY and the fn variants.
#include "codec/kernels.hpp"
#include "codec/plain/bit_stream.hpp"
#include "codec/plain/values.hpp"

namespace cpdcomm::codec::plain {
namespace {

void encode(const Layout& layout, const float* in, std::size_t count, const CastOptions& cast,
            Place out) {
  BitWriter writer(out.codes(layout), layout.bits);
  for (std::size_t i = 0; i < count; ++i) writer.put(float_code(layout, in[i], cast, i));
  writer.finish();
}

void decode(const Layout& layout, ConstPlace in, std::size_t count, float* out) {
  BitReader reader(in.codes(layout), layout.code_bytes(count), layout.bits);
  for (std::size_t i = 0; i < count; ++i) {
    out[i] = numerics::decode_value(reader.get(), layout.floats);
  }
}

void round(const Layout& layout, const float* in, std::size_t count, const CastOptions& cast,
           float* out) {
  for (std::size_t i = 0; i < count; ++i) {
    out[i] = numerics::decode_value(float_code(layout, in[i], cast, i), layout.floats);
  }
}

}  // namespace

const Kernels kFloats{encode, decode, decode_add<decode>, round, nullptr};

}  // namespace cpdcomm::codec::plain
