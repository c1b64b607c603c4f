#pragma once

#include "codec/codec.hpp"

namespace cpdcomm::codec {

/// `fp32`: a bitwise copy, NaN payloads included. A shift, if one is asked for, rounds to FP32
/// once.
class IdentityCodec final : public Codec {
 public:
  std::size_t encoded_size(std::size_t count) const override { return count * sizeof(float); }
  std::size_t alignment() const override { return 8; }
  int emax() const override { return 127; }
  void encode(const float* in, std::size_t count, CastOptions cast, std::byte* out) const override;
  void decode(const std::byte* in, std::size_t count, float* out) const override;
  void round(const float* in, std::size_t count, CastOptions cast, float* out) const override;
};

}  // namespace cpdcomm::codec
