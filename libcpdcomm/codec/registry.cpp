// Which kernels each family of formats has.
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

const Kernels& vector_kernels(Format format) {
  switch (format.kind()) {
    case Format::Kind::bfp:
      return simd::block_float_kernels();
    case Format::Kind::mx:
      return simd::microscaling_kernels();
    case Format::Kind::integer:
      return simd::linear_kernels();
    case Format::Kind::sign:
      return simd::sign_kernels();
    case Format::Kind::floating:
    case Format::Kind::finite:
      break;
  }
  return format.is_fp32() ? plain::kIdentity : simd::float_kernels();
}

}  // namespace

Codec codec_for(Format format) { return Codec(Layout(format), vector_kernels(format)); }

Codec plain_codec_for(Format format) { return Codec(Layout(format), plain_kernels(format)); }

}  // namespace cpdcomm::codec
