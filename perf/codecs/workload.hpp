#pragma once

#include <hwy/aligned_allocator.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
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

/// Memory that begins with a line of the caches, as that of tensors does.
template <typename T>
class Aligned {
 public:
  explicit Aligned(std::size_t size) : memory_(hwy::AllocateAligned<T>(size)), size_(size) {
    if (!memory_) throw std::bad_alloc();
    std::fill_n(data(), size, T{});
  }
  T* data() const { return memory_.get(); }
  std::span<T> all() const { return {data(), size_}; }

 private:
  hwy::AlignedFreeUniquePtr<T[]> memory_;
  std::size_t size_;
};

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
  Aligned<float> own_;
  Aligned<float> out_;
  Aligned<std::byte> packed_out_;
  std::vector<Aligned<std::byte>> packed_;
  std::mutex packing_;
  Format packed_format_;
  std::size_t packed_values_ = 0;
};

}  // namespace cpdcomm::perf
