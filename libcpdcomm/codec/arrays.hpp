#pragma once

#include <cstddef>
#include <cstdint>

#include "cpdcomm/codec.hpp"

// Arithmetic on whole arrays that sums need beside the casts. The floating-point environment is the
// default.
namespace cpdcomm::codec {

/// The FP32 bits of the largest magnitude; Inf and NaN compare above all.
std::uint32_t largest_bits(const float* in, std::size_t count);

/// sum += part
void add(float* sum, const float* part, std::size_t count);

/// out = in * 2^shift, rounded to FP32 once; `out` may be `in`.
/// @param shift  from -600 to 600
void scale(const float* in, std::size_t count, int shift, float* out);

/// What a decoded sum needs before it is a result: out = in * 2^-shift, rounded to FP32 once, then
/// divided; a NaN is the canonical one (0x7fc00000). `out` may be `in`.
/// @param shift  from -600 to 600
/// @return whether any value is not finite
bool finish(const float* in, std::size_t count, int shift, float divisor, float* out);

/// What a cast of values * 2^shift has lost: error = values - cast * 2^-shift, the product and the
/// difference rounded to FP32 once each. Where that is not finite `error` stays as it is.
/// @param shift  from -600 to 600
void cast_error(const float* values, const float* cast, std::size_t count, int shift, float* error);

/// The words of stochastic rounding of values `stream.first` and on.
void random_words(const RandomStream& stream, std::size_t count, std::uint32_t* out);

namespace plain {
std::uint32_t largest_bits(const float* in, std::size_t count);
void add(float* sum, const float* part, std::size_t count);
void scale(const float* in, std::size_t count, int shift, float* out);
bool finish(const float* in, std::size_t count, int shift, float divisor, float* out);
void cast_error(const float* values, const float* cast, std::size_t count, int shift, float* error);
void random_words(const RandomStream& stream, std::size_t count, std::uint32_t* out);
}  // namespace plain

}  // namespace cpdcomm::codec
