#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace cpdcomm::testing {

inline std::uint32_t bits(float value) { return std::bit_cast<std::uint32_t>(value); }
inline float value_of(std::uint32_t bits) { return std::bit_cast<float>(bits); }

/// Whether two vectors hold the same bits; says where they first differ.
inline ::testing::AssertionResult same_bits(std::span<const float> got,
                                            std::span<const float> wanted) {
  if (got.size() != wanted.size()) {
    return ::testing::AssertionFailure() << got.size() << " values, not " << wanted.size();
  }
  for (std::size_t i = 0; i < got.size(); ++i) {
    if (bits(got[i]) == bits(wanted[i])) continue;
    return ::testing::AssertionFailure()
           << "value " << i << " is " << got[i] << " (" << std::hex << bits(got[i]) << "), not "
           << wanted[i] << " (" << bits(wanted[i]) << ")";
  }
  return ::testing::AssertionSuccess();
}

}  // namespace cpdcomm::testing
