#pragma once

#include "reduction/integer_sums.hpp"

namespace cpdcomm::reduction {

/// `majority`: what most ranks' signs are, -1, 0 for a tie, or 1 (J. Bernstein, J. Zhao, K.
/// Azizzadenesheli, A. Anandkumar, signSGD with majority vote is communication efficient and fault
/// tolerant, ICLR 2019). The sign is the sign bit: that of +0 is 1, that of -0 is -1. One rank's
/// sign takes 1 bit, a sum of j signs 1 + ceil(log2(j + 1)), the result 2.
///
/// A tensor in which anything is not finite comes back NaN. A vote has no average, and knows no
/// error feedback: the sign says nothing of a magnitude that could be lost.
class Majority final : public IntegerSums {
 public:
  /// @param tensors  one word per tensor, of non_finite_words(), all agreed before anything is
  ///                 delivered
  explicit Majority(std::vector<IntegerTensor> tensors);

 private:
  int width(std::uint32_t parts) const override;
  int result_width() const override { return 2; }
  void own_sum(const Tile& tile, std::int32_t* sums) override;
  void add_sum(const std::byte* in, std::uint32_t parts, std::size_t count,
               std::int32_t* sums) const override;
  void pack_sum(const std::int32_t* sums, std::uint32_t parts, std::size_t count,
                std::byte* out) const override;
  void cast_result(const Tile& tile, std::int32_t* sums) const override;
  bool values_of(const Tile& tile, const std::int32_t* sums, bool is_result,
                 float* out) const override;
};

}  // namespace cpdcomm::reduction
