#include "codec/codec.hpp"

namespace cpdcomm::codec {
namespace {

const Kernels& plain_kernels(Format format) {
  switch (format.kind()) {
    case Format::Kind::bfp:
      return plain::kBlockFloat;
    case Format::Kind::mx:
      return plain::kMicroscaling;
    case Format::Kind::integer:
      return plain::kLinear;
    case Format::Kind::sign:
      return plain::kSign;
    case Format::Kind::floating:
    case Format::Kind::finite:
      break;
  }
  return format.is_fp32() ? plain::kIdentity : plain::kFloats;
}

}  // namespace

std::uint32_t largest_bits(const float* in, std::size_t count) {
  return plain::largest_bits(in, count);
}

Codec codec_for(Format format) { return plain_codec_for(format); }

Codec plain_codec_for(Format format) { return Codec(Layout(format), plain_kernels(format)); }

}  // namespace cpdcomm::codec
