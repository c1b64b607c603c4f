#include "collective/aps.hpp"

#include <algorithm>
#include <array>

#include "codec/arrays.hpp"
#include "numerics/scale_exponent.hpp"
#include "reduction/element.hpp"

namespace cpdcomm::collective {
namespace {

/// Of any element type; FP16 and BF16 pass through FP32, which is exact.
std::uint32_t largest_bits(const void* part, DataType type, std::size_t first, std::size_t count) {
  if (type == DataType::fp32) {
    return codec::largest_bits(static_cast<const float*>(part) + first, count);
  }
  const codec::Codec& codec = reduction::codec_of(type);
  std::array<float, 1024> values;
  std::uint32_t largest = 0;
  for (std::size_t done = 0; done < count;) {
    const std::size_t now = std::min(values.size(), count - done);
    codec.decode(static_cast<const std::byte*>(part) + (first + done) * size_of(type), now,
                 values.data());
    largest = std::max(largest, codec::largest_bits(values.data(), now));
    done += now;
  }
  return largest;
}

}  // namespace

std::size_t exponent_count(std::size_t count, std::size_t group) {
  return group == 0 ? 1 : (count + group - 1) / group;
}

void scale_exponents(std::span<const void* const> parts, std::size_t count, DataType type,
                     std::size_t group, std::uint64_t world, std::span<std::int16_t> out) {
  const std::size_t length = group == 0 ? count : group;
  for (std::size_t i = 0; i < out.size(); ++i) {
    const std::size_t first = i * length;
    std::uint32_t largest = 0;
    for (const void* part : parts) {
      largest = std::max(largest, largest_bits(part, type, first, std::min(length, count - first)));
    }
    out[i] = numerics::scale_exponent(largest, world);
  }
}

}  // namespace cpdcomm::collective
