#pragma once

#include "numerics/host_device.hpp"

namespace cpdcomm::numerics {

/// The magnitude m * 2^(exponent - 23) of a finite non-zero FP32 value, 2^23 <= m < 2^24.
struct Magnitude {
  std::uint32_t significand;
  int exponent;
};

CPDCOMM_HOST_DEVICE inline Magnitude magnitude_of(std::uint32_t absolute_bits) {
  const int field = static_cast<int>(absolute_bits >> 23);
  const std::uint32_t mantissa = absolute_bits & 0x7fffffu;
  if (field != 0) return {mantissa | 0x800000u, field - 127};
  const int up = 23 - top_bit(mantissa);
  return {mantissa << up, -126 - up};
}

// A rounding takes a significand of at most 29 bits (24 of FP32, more of an exact sum; the
// stochastic one 32) and how many of its bits to drop, 0 or more, and gives the integer that is
// left: integer arithmetic only, so that no mode of the caller's reaches it.

/// To the nearest, ties to the even integer.
struct NearestEven {
  CPDCOMM_HOST_DEVICE std::uint32_t operator()(std::uint32_t significand, int drop) const {
    if (drop > 30) return 0;  // less than half
    const std::uint32_t kept = significand >> drop;
    const std::uint32_t rest = significand & ((1u << drop) - 1u);
    return kept + (2u * rest + (kept & 1u) > (1u << drop) ? 1u : 0u);
  }
};

/// Up where the fraction, as 32 bits (truncated below them), and a random word carry.
struct Stochastic {
  std::uint32_t word;

  CPDCOMM_HOST_DEVICE std::uint32_t operator()(std::uint32_t significand, int drop) const {
    if (drop > 55) return 0;  // no bit of the fraction is left
    const std::uint64_t fixed = (static_cast<std::uint64_t>(significand) << 32) >> drop;
    const auto kept = static_cast<std::uint32_t>(fixed >> 32);
    const auto fraction = static_cast<std::uint32_t>(fixed);
    return kept + (fraction > ~word ? 1u : 0u);
  }
};

/// x / 2^exponent as an integer of at most `most` in magnitude (less than 2^23), for a finite x.
template <typename Rounding>
CPDCOMM_HOST_DEVICE inline std::int32_t round_to_integer(float x, int exponent, std::int32_t most,
                                                         Rounding round) {
  const std::uint32_t bits = bits_of(x);
  const std::uint32_t absolute = bits & 0x7fffffffu;
  if (absolute == 0) return 0;
  const Magnitude magnitude = magnitude_of(absolute);
  const int drop = 23 - magnitude.exponent + exponent;
  std::int32_t rounded = most;
  if (drop >= 0) {  // else 2^23 at least
    const auto integer = static_cast<std::int32_t>(round(magnitude.significand, drop));
    rounded = integer < most ? integer : most;
  }
  return (bits >> 31) != 0 ? -rounded : rounded;
}

}  // namespace cpdcomm::numerics
