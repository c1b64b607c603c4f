// fp32: a bitwise copy, NaN payloads included. A shift, if one is asked for, rounds to FP32 once.
#include <cstring>

#include "codec/kernels.hpp"
#include "codec/plain/values.hpp"

namespace cpdcomm::codec::plain {
namespace {

void round(const Layout& layout, const float* in, std::size_t count, const CastOptions& cast,
           float* out) {
  if (cast.shift == 0) {
    if (count != 0 && out != in) std::memmove(out, in, count * sizeof(float));
    return;
  }
  for (std::size_t i = 0; i < count; ++i) {
    out[i] = numerics::float_of(float_code(layout, in[i], cast, i));
  }
}

void encode(const Layout& layout, const float* in, std::size_t count, const CastOptions& cast,
            Place out) {
  std::byte* at = out.codes(layout);
  if (cast.shift == 0) {
    if (count != 0) std::memcpy(at, in, count * sizeof(float));
    return;
  }
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t code = float_code(layout, in[i], cast, i);
    std::memcpy(at + i * sizeof code, &code, sizeof code);
  }
}

void decode(const Layout& layout, ConstPlace in, std::size_t count, float* out) {
  if (count != 0) std::memcpy(out, in.codes(layout), count * sizeof(float));
}

}  // namespace

const Kernels kIdentity{encode, decode, decode_add<decode>, round, nullptr};

}  // namespace cpdcomm::codec::plain
