#pragma once

#include "codec/layout.hpp"
#include "cpdcomm/codec.hpp"

namespace cpdcomm::codec {

/// One family of formats, one way of computing it. The floating-point environment is the default.
///
/// Calls start at a multiple of the block, or of 8 where a format has none (`decode` and
/// `decode_add`: of 8 always), and end at such a multiple or at the end of the span.
struct Kernels {
  void (*encode)(const Layout& layout, const float* in, std::size_t count, const CastOptions& cast,
                 Place out);
  void (*decode)(const Layout& layout, ConstPlace in, std::size_t count, float* out);
  /// Adds what it decodes.
  void (*decode_add)(const Layout& layout, ConstPlace in, std::size_t count, float* sum);
  /// decode(encode(in)); `out` may be `in`.
  void (*round)(const Layout& layout, const float* in, std::size_t count, const CastOptions& cast,
                float* out);
  /// As round, for any number of values of one block whose scale is given: what an integer code
  /// (for mx an element, of a scale from 2^-127 on; for sign +-1) is multiplied by. A NaN makes all
  /// NaN. None for floats.
  void (*round_on)(const Layout& layout, const float* in, std::size_t count, float scale,
                   const CastOptions& cast, float* out);
};

/// The families as plain, portable C++, one value at a time: what all else is held against.
namespace plain {
extern const Kernels kIdentity;
extern const Kernels kFloats;
extern const Kernels kBlockFloat;
extern const Kernels kMicroscaling;
extern const Kernels kLinear;
extern const Kernels kSign;
}  // namespace plain

/// The families in vectors, for the instruction set that is in force (Highway's chosen target): the
/// plain ones where the machine has none that is known.
namespace simd {
const Kernels& float_kernels();
const Kernels& block_float_kernels();
const Kernels& microscaling_kernels();
const Kernels& linear_kernels();
const Kernels& sign_kernels();
}  // namespace simd

}  // namespace cpdcomm::codec
