// The public face of the codecs: checked spans.
#include <fmt/format.h>

#include <algorithm>

#include "codec/codec.hpp"
#include "codec/float_environment.hpp"
#include "cpdcomm/error.hpp"

namespace cpdcomm {
namespace {

void check_bytes(const codec::Codec& codec, std::size_t count, std::size_t bytes) {
  const std::size_t needed = codec.encoded_size(count);
  if (bytes == needed) return;
  throw Error(ErrorCode::invalid_argument,
              fmt::format("{} values of {} take {} bytes, not {}", count,
                          codec.format().to_string(), needed, bytes));
}

CastOptions checked(CastOptions options, Format format) {
  if (options.shift != 0 && !format.is_float()) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("shift is {}; {} has scales of its own and takes none", options.shift,
                            format.to_string()));
  }
  // A shift by more is like a shift by this much, and exponents cannot overflow an int.
  constexpr int kFarthest = 1000;
  options.shift = std::clamp(options.shift, -kFarthest, kFarthest);
  return options;
}

}  // namespace

std::size_t encoded_size(Format format, std::size_t count) {
  return codec::Layout(format).encoded_size(count);
}

void encode(std::span<const float> values, Format format, std::span<std::byte> bytes,
            CastOptions options) {
  const codec::Codec codec = codec::codec_for(format);
  check_bytes(codec, values.size(), bytes.size());
  const CastOptions cast = checked(options, format);
  const codec::FloatEnvironment environment;
  codec.encode(values.data(), values.size(), cast, bytes.data());
}

void decode(std::span<const std::byte> bytes, Format format, std::span<float> values) {
  const codec::Codec codec = codec::codec_for(format);
  check_bytes(codec, values.size(), bytes.size());
  const codec::FloatEnvironment environment;
  codec.decode(bytes.data(), values.size(), values.data());
}

void quantize(std::span<const float> in, Format format, std::span<float> out, CastOptions options) {
  if (in.size() != out.size()) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("quantize reads {} values and would write {}", in.size(), out.size()));
  }
  const CastOptions cast = checked(options, format);
  const codec::FloatEnvironment environment;
  codec::codec_for(format).round(in.data(), in.size(), cast, out.data());
}

}  // namespace cpdcomm
