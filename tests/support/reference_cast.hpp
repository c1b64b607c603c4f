#pragma once

#include <cstdint>

#include "cpdcomm/format.hpp"

// What a cast must give, from the specification alone and by another way than the library's: every
// code of a float format stands for an integer times a power of two, and the nearest code is
// searched for among all of them, with comparisons of integers.
namespace cpdcomm::testing {

/// units * 2^exponent, units >= 0.
struct Exact {
  std::uint64_t units;
  int exponent;
};

/// Compares exactly: negative, zero or positive as a is less than, equal to or greater than b.
int compare(Exact a, Exact b);

/// The magnitude of a finite FP32 value.
Exact exact_magnitude(float x);

/// The magnitude that a code of a format stands for. Inf's code stands for the value that the
/// format would hold there if its exponents went on.
Exact exact_code(std::uint32_t magnitude_code, Format format);

/// Exponent of a float format's largest binade.
int top_exponent(Format format);

/// Magnitude code of Inf, or of what stands in its place in an fn format (one more than that of the
/// largest value; e4m3fn's NaN, and no code of the others).
std::uint32_t infinity_code(Format format);

/// The code of x * 2^shift, rounded once, nearest-even.
std::uint32_t reference_encode(float x, Format format, int shift = 0, bool saturate = false);

/// The FP32 value of a code.
float reference_decode(std::uint32_t code, Format format);

/// reference_decode(reference_encode(x)), but a bitwise copy for fp32 without a shift.
float reference_cast(float x, Format format, int shift = 0, bool saturate = false);

/// APS: the smallest E with largest * world <= 2^E, for a finite largest > 0.
int reference_exponent(float largest, std::uint64_t world);

}  // namespace cpdcomm::testing
