#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "codec/codec.hpp"

namespace cpdcomm::perf {

/// The values first .. first + count - 1.
struct Slice {
  std::size_t first;
  std::size_t count;
};

/// Part `index` of `parts` of so many values, cut where no cut changes a bit.
Slice slice_of(std::size_t values, std::size_t alignment, int index, int parts);

/// The memory that all kernels work on, touched once, so that the same pages serve all of them.
class Workload {
 public:
  static constexpr std::size_t kParts = 4;  ///< packed inputs of the sum of several

  explicit Workload(std::size_t largest);

  const float* own() const { return own_.data(); }
  float* out() { return out_.data(); }
  std::byte* packed_out() { return packed_out_.data(); }
  const std::byte* packed(std::size_t part) const { return packed_[part].data(); }

  /// Sees to it that all packed inputs hold `values` values in this codec's format. Any number of
  /// threads may ask for the same at once; none may ask for something else meanwhile.
  void pack(const codec::Codec& codec, std::size_t values);

 private:
  std::vector<float> own_;
  std::vector<float> out_;
  std::vector<std::byte> packed_out_;
  std::array<std::vector<std::byte>, kParts> packed_;
  std::mutex packing_;
  Format packed_format_;
  std::size_t packed_values_ = 0;
};

}  // namespace cpdcomm::perf
