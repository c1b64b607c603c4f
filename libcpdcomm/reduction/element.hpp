#pragma once

#include "codec/codec.hpp"
#include "cpdcomm/communicator.hpp"

namespace cpdcomm::reduction {

/// How the elements of an FP32, BF16 or FP16 tensor turn into FP32 values and back: their bits in
/// memory are those of a wire format.
inline codec::Codec codec_of(DataType type) {
  switch (type) {
    case DataType::bf16:
      return codec::codec_for(Format::floating(8, 7));
    case DataType::fp16:
      return codec::codec_for(Format::floating(5, 10));
    default:
      return codec::codec_for(Format());
  }
}

}  // namespace cpdcomm::reduction
