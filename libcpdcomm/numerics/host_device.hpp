#pragma once

// One source for host and device: what numerics/ defines is compiled by g++ and by nvcc.
#if defined(__CUDACC__)
#define CPDCOMM_HOST_DEVICE __host__ __device__
#else
#define CPDCOMM_HOST_DEVICE
#endif

#include <cstdint>
#include <cstring>

namespace cpdcomm::numerics {

CPDCOMM_HOST_DEVICE inline std::uint32_t bits_of(float value) {
  std::uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  return bits;
}

CPDCOMM_HOST_DEVICE inline float float_of(std::uint32_t bits) {
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/// Position of the highest set bit of a value that is not 0.
CPDCOMM_HOST_DEVICE inline int top_bit(std::uint32_t value) {
#if defined(__CUDA_ARCH__)
  return 31 - __clz(static_cast<int>(value));
#else
  return 31 - __builtin_clz(value);
#endif
}

}  // namespace cpdcomm::numerics
