#pragma once

#include <algorithm>
#include <span>

#include "codec/kernels.hpp"
#include "codec/layout.hpp"
#include "cpdcomm/codec.hpp"
#include "cpdcomm/format.hpp"

namespace cpdcomm::codec {

/// Turns spans of FP32 values into packed bytes of one format, and back: everything above works on
/// spans through this one class. No call allocates.
class Codec {
 public:
  Codec(const Layout& layout, const Kernels& kernels) : layout_(layout), kernels_(&kernels) {}

  const Layout& layout() const { return layout_; }
  Format format() const { return layout_.format; }

  /// Bytes of `count` values.
  std::size_t encoded_size(std::size_t count) const { return layout_.encoded_size(count); }
  /// Values between which a span may be cut without changing a bit.
  std::size_t alignment() const { return std::max<std::size_t>(8, layout_.block); }
  /// A number of values to work on at once: with their sums they stay in the caches next to a core.
  std::size_t tile() const { return std::max<std::size_t>(1, kTile / alignment()) * alignment(); }
  /// Exponent of a float format's largest binade: where APS puts the largest possible sum.
  int emax() const { return layout_.floats.emax; }

  void encode(const float* in, std::size_t count, const CastOptions& cast, Place out) const {
    kernels_->encode(layout_, in, count, cast, out);
  }
  void decode(ConstPlace in, std::size_t count, float* out) const {
    kernels_->decode(layout_, in, count, out);
  }
  /// sum += decode(in)
  void decode_add(ConstPlace in, std::size_t count, float* sum) const {
    kernels_->decode_add(layout_, in, count, sum);
  }
  /// decode(encode(in)); `out` may be `in`.
  void round(const float* in, std::size_t count, const CastOptions& cast, float* out) const {
    kernels_->round(layout_, in, count, cast, out);
  }
  /// As round, for values of one block whose scale is given (see Kernels).
  void round_on(const float* in, std::size_t count, float scale, const CastOptions& cast,
                float* out) const {
    kernels_->round_on(layout_, in, count, scale, cast, out);
  }

  // The same for spans that stand alone.
  void encode(const float* in, std::size_t count, const CastOptions& cast, std::byte* out) const {
    encode(in, count, cast, Place{out, count, 0});
  }
  void decode(const std::byte* in, std::size_t count, float* out) const {
    decode(ConstPlace{in, count, 0}, count, out);
  }

 private:
  static constexpr std::size_t kTile = 1024;

  Layout layout_;
  const Kernels* kernels_;
};

/// The codec of a format: the fastest that this machine can run.
Codec codec_for(Format format);

/// The plain one: the same bits.
Codec plain_codec_for(Format format);

}  // namespace cpdcomm::codec
