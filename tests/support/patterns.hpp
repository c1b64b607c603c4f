#pragma once

#include <cstddef>
#include <vector>

#include "cpdcomm/format.hpp"

namespace cpdcomm::testing {

/// Inputs that make a wrong cast of x * 2^shift visible, both signs: zeros, infinities, NaNs, every
/// FP32 exponent, all of a format's values and midpoints (a sample, where it has many) with their
/// FP32 neighbours, subnormals, and noise.
std::vector<float> cast_patterns(Format format, int shift, unsigned seed);

/// Gradients of one rank: magnitudes over many binades, some zeros and some FP32 subnormals.
std::vector<float> gradients(std::size_t count, unsigned seed);

}  // namespace cpdcomm::testing
