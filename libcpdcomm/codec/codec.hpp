#pragma once

#include <cstddef>

#include "cpdcomm/codec.hpp"
#include "cpdcomm/format.hpp"

namespace cpdcomm::codec {

/// Turns spans of FP32 values into packed bytes of one format, and back.
///
/// The seam where SIMD targets will sit: everything above works on spans through this interface,
/// and the portable codec stays as the reference that every target is held against.
/// Where a call starts inside a longer span, it starts at a multiple of `alignment()` values, so
/// that it starts on a byte.
class Codec {
 public:
  virtual ~Codec() = default;

  /// Bytes of `count` values.
  virtual std::size_t encoded_size(std::size_t count) const = 0;
  /// Values between which a span may be cut without changing a bit.
  virtual std::size_t alignment() const = 0;
  /// Exponent of the format's largest binade: where APS puts the largest possible sum.
  virtual int emax() const = 0;

  virtual void encode(const float* in, std::size_t count, CastOptions cast,
                      std::byte* out) const = 0;
  virtual void decode(const std::byte* in, std::size_t count, float* out) const = 0;
  /// decode(encode(in)); `out` may be `in`.
  virtual void round(const float* in, std::size_t count, CastOptions cast, float* out) const = 0;
};

/// The codec of a format. It lives as long as the program.
const Codec& codec_for(Format format);

}  // namespace cpdcomm::codec
