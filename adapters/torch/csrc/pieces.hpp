#pragma once

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <array>
#include <cfenv>
#include <span>

// Long tensors in pieces for torch's intra-op threads, half types in tiles of FP32.
namespace cpdcomm::torch_adapter {

/// Below so many values a second thread costs more than it brings.
inline constexpr std::size_t kGrain = 32768;

/// Calls work(first, last) for pieces of 0 .. count - 1, cut at multiples of `unit`.
template <typename F>
void in_pieces(std::size_t count, std::size_t unit, F&& work) {
  const std::size_t units = (count + unit - 1) / unit;
  const std::size_t grain = std::max<std::size_t>(1, kGrain / unit);
  at::parallel_for(0, static_cast<std::int64_t>(units), static_cast<std::int64_t>(grain),
                   [&](std::int64_t begin, std::int64_t end) {
                     work(static_cast<std::size_t>(begin) * unit,
                          std::min(count, static_cast<std::size_t>(end) * unit));
                   });
}

/// The default floating-point environment while it lives: conversions to and from half types round
/// as the caller's mode says.
class DefaultEnvironment {
 public:
  DefaultEnvironment() {
    std::fegetenv(&callers_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~DefaultEnvironment() { std::fesetenv(&callers_); }
  DefaultEnvironment(const DefaultEnvironment&) = delete;
  DefaultEnvironment& operator=(const DefaultEnvironment&) = delete;

 private:
  std::fenv_t callers_;
};

/// Calls work(first, values) with values first to last - 1 of `in` as FP32: where they lie, or a
/// tile at a time, of a multiple of `unit` values (a block's at most), which `work` may write to.
template <typename T, typename F>
void in_tiles(const T* in, std::size_t first, std::size_t last, std::size_t unit, F&& work) {
  constexpr std::size_t kLargestBlock = 65536;
  constexpr std::size_t kTile = 4096;
  const DefaultEnvironment environment;
  std::array<float, kLargestBlock> tile;
  const std::size_t step = std::max(unit, kTile / unit * unit);
  for (; first < last; first += step) {
    const std::size_t count = std::min(step, last - first);
    std::copy_n(in + first, count, tile.data());
    work(first, std::span<float>(tile.data(), count));
  }
}

/// Calls work(T*) with a null pointer of the tensor's type, one that check_float accepts.
template <typename F>
void with_type_of(const at::Tensor& x, F&& work) {
  switch (x.scalar_type()) {
    case at::kBFloat16:
      return work(static_cast<at::BFloat16*>(nullptr));
    case at::kHalf:
      return work(static_cast<at::Half*>(nullptr));
    default:
      return work(static_cast<float*>(nullptr));
  }
}

}  // namespace cpdcomm::torch_adapter
