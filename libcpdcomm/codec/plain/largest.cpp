#include <algorithm>

#include "codec/kernels.hpp"

namespace cpdcomm::codec::plain {

std::uint32_t largest_bits(const float* in, std::size_t count) {
  std::uint32_t largest = 0;
  for (std::size_t i = 0; i < count; ++i) {
    largest = std::max(largest, numerics::bits_of(in[i]) & 0x7fffffffu);
  }
  return largest;
}

}  // namespace cpdcomm::codec::plain
