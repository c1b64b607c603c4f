#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "support/bits.hpp"

namespace cpdcomm::testing {

/// What ranks that are processes sum, to be compared with ranks that are threads.
inline constexpr const char* kWires[] = {"fp32", "e4m3", "bfp8", "sign"};
inline constexpr std::size_t kCount = 100003;

/// FNV-1a over the values' bits (G. Fowler, L. C. Noll, K.-P. Vo; RFC 9923), a value at a time.
inline std::uint32_t checksum(std::span<const float> values) {
  std::uint32_t hash = 2166136261u;
  for (const float value : values) hash = (hash ^ bits(value)) * 16777619u;
  return hash;
}

}  // namespace cpdcomm::testing
