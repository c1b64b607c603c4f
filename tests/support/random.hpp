#pragma once

#include <cstdint>
#include <limits>
#include <random>

namespace cpdcomm::testing {

/// 32 random bits at a time, the same in every run.
class Random {
 public:
  using result_type = std::uint32_t;
  static constexpr result_type min() { return 0; }
  static constexpr result_type max() { return std::numeric_limits<result_type>::max(); }

  explicit Random(unsigned seed) : engine_(seed) {}
  result_type operator()() { return static_cast<result_type>(engine_()); }
  /// A number in 0 .. limit - 1.
  result_type below(std::uint32_t limit) { return (*this)() % limit; }

 private:
  std::mt19937 engine_;
};

}  // namespace cpdcomm::testing
