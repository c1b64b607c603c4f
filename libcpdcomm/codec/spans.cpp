// The public face of the codecs: checked spans.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "codec/checks.hpp"
#include "codec/codec.hpp"
#include "codec/float_environment.hpp"
#include "codec/targets.hpp"
#include "cpdcomm/error.hpp"

namespace cpdcomm {
namespace {

void check_bytes(const codec::Codec& codec, std::size_t count, std::size_t bytes) {
  // No memory holds more, and sizes of fewer cannot overflow.
  constexpr std::size_t kMost = std::numeric_limits<std::size_t>::max() / 16;
  if (count > kMost) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{} values are more than memory can hold", count));
  }
  const std::size_t needed = codec.encoded_size(count);
  if (bytes == needed) return;
  throw Error(ErrorCode::invalid_argument,
              fmt::format("{} values of {} take {} bytes, not {}", count,
                          codec.format().to_string(), needed, bytes));
}

void check_piece(const codec::Codec& codec, Piece piece, std::size_t count) {
  const std::size_t unit = codec.alignment();
  const bool within = piece.first <= piece.of && count <= piece.of - piece.first;
  const std::size_t last = piece.first + count;
  if (within && piece.first % unit == 0 && (last % unit == 0 || last == piece.of)) return;
  throw Error(ErrorCode::invalid_argument,
              fmt::format("{} values from {} are no piece of {}: {} is cut at multiples of {}",
                          count, piece.first, piece.of, codec.format().to_string(), unit));
}

}  // namespace

CastOptions codec::checked(CastOptions options, Format format) {
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

std::vector<std::string> instruction_sets() { return codec::targets(); }

std::size_t encoded_size(Format format, std::size_t count) {
  return codec::Layout(format).encoded_size(count);
}

void encode(std::span<const float> values, Format format, std::span<std::byte> bytes,
            CastOptions options) {
  encode_piece(values, {values.size(), 0}, format, bytes, options);
}

void decode(std::span<const std::byte> bytes, Format format, std::span<float> values) {
  decode_piece(bytes, {values.size(), 0}, format, values);
}

void encode_piece(std::span<const float> values, Piece piece, Format format,
                  std::span<std::byte> bytes, CastOptions options) {
  const codec::Codec codec = codec::codec_for(format);
  check_bytes(codec, piece.of, bytes.size());
  check_piece(codec, piece, values.size());
  const CastOptions cast = codec::checked(options, format);
  const codec::FloatEnvironment environment;
  codec.encode(values.data(), values.size(), cast,
               codec::Place{bytes.data(), piece.of, piece.first});
}

void decode_piece(std::span<const std::byte> bytes, Piece piece, Format format,
                  std::span<float> values) {
  const codec::Codec codec = codec::codec_for(format);
  check_bytes(codec, piece.of, bytes.size());
  check_piece(codec, piece, values.size());
  const codec::FloatEnvironment environment;
  codec.decode(codec::ConstPlace{bytes.data(), piece.of, piece.first}, values.size(),
               values.data());
}

void quantize(std::span<const float> in, Format format, std::span<float> out, CastOptions options) {
  if (in.size() != out.size()) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("quantize reads {} values and would write {}", in.size(), out.size()));
  }
  const CastOptions cast = codec::checked(options, format);
  const codec::FloatEnvironment environment;
  codec::codec_for(format).round(in.data(), in.size(), cast, out.data());
}

}  // namespace cpdcomm
