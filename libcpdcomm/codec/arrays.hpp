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

/// What a decoded sum needs before it is a result: values = values * 2^-shift, rounded to FP32
/// once, then divided; a NaN is the canonical one (0x7fc00000).
/// @param shift  from -600 to 600
/// @return whether any value is not finite
bool finish(float* values, std::size_t count, int shift, float divisor);

/// The words of stochastic rounding of values `stream.first` and on.
void random_words(const RandomStream& stream, std::size_t count, std::uint32_t* out);

namespace plain {
std::uint32_t largest_bits(const float* in, std::size_t count);
void add(float* sum, const float* part, std::size_t count);
void scale(const float* in, std::size_t count, int shift, float* out);
bool finish(float* values, std::size_t count, int shift, float divisor);
void random_words(const RandomStream& stream, std::size_t count, std::uint32_t* out);
}  // namespace plain

}  // namespace cpdcomm::codec
