#include "codec/identity_codec.hpp"

#include <cstring>

#include "numerics/cast.hpp"

namespace cpdcomm::codec {
namespace {

constexpr numerics::FloatLayout kFp32(8, 23);

}  // namespace

void IdentityCodec::encode(const float* in, std::size_t count, CastOptions cast,
                           std::byte* out) const {
  if (count == 0) return;
  if (cast.shift == 0) {
    std::memcpy(out, in, count * sizeof(float));
    return;
  }
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t code = numerics::encode_value(in[i], cast.shift, kFp32, cast.saturate);
    std::memcpy(out + i * sizeof code, &code, sizeof code);
  }
}

void IdentityCodec::decode(const std::byte* in, std::size_t count, float* out) const {
  if (count != 0) std::memcpy(out, in, count * sizeof(float));
}

void IdentityCodec::round(const float* in, std::size_t count, CastOptions cast, float* out) const {
  if (cast.shift == 0) {
    if (count != 0 && out != in) std::memmove(out, in, count * sizeof(float));
    return;
  }
  for (std::size_t i = 0; i < count; ++i) {
    out[i] = numerics::cast_value(in[i], cast.shift, kFp32, cast.saturate);
  }
}

}  // namespace cpdcomm::codec
