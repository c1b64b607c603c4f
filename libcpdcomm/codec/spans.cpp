// The public face of the codecs: checked spans.
#include <fmt/format.h>

#include <algorithm>

#include "codec/codec.hpp"
#include "cpdcomm/error.hpp"

namespace cpdcomm {
namespace {

void check_bytes(const codec::Codec& codec, Format format, std::size_t count, std::size_t bytes) {
  const std::size_t needed = codec.encoded_size(count);
  if (bytes == needed) return;
  throw Error(ErrorCode::invalid_argument, fmt::format("{} values of {} take {} bytes, not {}",
                                                       count, format.to_string(), needed, bytes));
}

/// A shift by more is like a shift by this much, and exponents cannot overflow an int.
CastOptions bounded(CastOptions options) {
  constexpr int kFarthest = 1000;
  options.shift = std::clamp(options.shift, -kFarthest, kFarthest);
  return options;
}

}  // namespace

std::size_t encoded_size(Format format, std::size_t count) {
  return codec::codec_for(format).encoded_size(count);
}

void encode(std::span<const float> values, Format format, std::span<std::byte> bytes,
            CastOptions options) {
  const codec::Codec& codec = codec::codec_for(format);
  check_bytes(codec, format, values.size(), bytes.size());
  codec.encode(values.data(), values.size(), bounded(options), bytes.data());
}

void decode(std::span<const std::byte> bytes, Format format, std::span<float> values) {
  const codec::Codec& codec = codec::codec_for(format);
  check_bytes(codec, format, values.size(), bytes.size());
  codec.decode(bytes.data(), values.size(), values.data());
}

void quantize(std::span<const float> in, Format format, std::span<float> out, CastOptions options) {
  if (in.size() != out.size()) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("quantize reads {} values and would write {}", in.size(), out.size()));
  }
  codec::codec_for(format).round(in.data(), in.size(), bounded(options), out.data());
}

}  // namespace cpdcomm
