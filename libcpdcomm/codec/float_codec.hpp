#pragma once

#include "codec/codec.hpp"
#include "numerics/cast.hpp"

namespace cpdcomm::codec {

/// `eXmY`, plain and portable: one value at a time.
class FloatCodec final : public Codec {
 public:
  explicit FloatCodec(Format format);

  std::size_t encoded_size(std::size_t count) const override;
  std::size_t alignment() const override { return 8; }
  int emax() const override { return layout_.emax; }
  void encode(const float* in, std::size_t count, CastOptions cast, std::byte* out) const override;
  void decode(const std::byte* in, std::size_t count, float* out) const override;
  void round(const float* in, std::size_t count, CastOptions cast, float* out) const override;

 private:
  numerics::FloatLayout layout_;
  int bits_;
};

}  // namespace cpdcomm::codec
