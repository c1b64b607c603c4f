#include "codecs/workload.hpp"

#include <algorithm>
#include <random>

namespace cpdcomm::perf {

Slice slice_of(std::size_t values, std::size_t alignment, int index, int parts) {
  const std::size_t units = (values + alignment - 1) / alignment;
  const auto cut = [&](int i) {
    const std::size_t unit = units * static_cast<std::size_t>(i) / static_cast<std::size_t>(parts);
    return std::min(values, unit * alignment);
  };
  return {cut(index), cut(index + 1) - cut(index)};
}

namespace {

/// Bytes that any format takes at most: a code of 4 bytes and the scale of a block of 8.
std::size_t most_bytes(std::size_t values) { return 2 * sizeof(float) * values; }

}  // namespace

Workload::Workload(std::size_t largest)
    : own_(largest), out_(largest), packed_out_(most_bytes(largest)) {
  std::mt19937 random(1);
  // Gradients of one layer, about: values around 1 at the top of most formats' normal range.
  std::normal_distribution<float> normal;
  std::ranges::generate(own_.all(), [&] { return normal(random); });
  for (std::size_t part = 0; part < kParts; ++part) packed_.emplace_back(most_bytes(largest));
}

void Workload::pack(const codec::Codec& codec, std::size_t values) {
  const std::lock_guard lock(packing_);
  if (packed_format_ == codec.format() && packed_values_ == values) return;
  codec.encode(own(), values, {}, packed_[0].data());
  const std::size_t size = codec.encoded_size(values);
  for (std::size_t part = 1; part < kParts; ++part) {
    std::copy_n(packed_[0].data(), size, packed_[part].data());
  }
  packed_format_ = codec.format();
  packed_values_ = values;
}

}  // namespace cpdcomm::perf
