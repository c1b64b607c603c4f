#pragma once

#include <cstddef>
#include <cstdint>

// What the vector kernels work on at once. A tile's values, codes and bytes lie in memory of the
// kernel's own with room behind them, so that every loop may run on to the end of its last vector;
// what leaves for the caller is copied exactly.
namespace cpdcomm::codec::simd {

inline constexpr std::size_t kTile = 1024;
/// At least the values of four vectors of the widest target, and 16 bytes of codes.
inline constexpr std::size_t kPad = 64;

template <typename T>
struct alignas(64) Buffer {
  T at[kTile + kPad];
};

}  // namespace cpdcomm::codec::simd
