#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "allreduce/prediction.hpp"
#include "codec/exact.hpp"

namespace cpdcomm::perf {

/// What an all-reduce with `exact` or `majority` must give, bit for bit, any slice of it: integers
/// that are added one after the other. No algorithm, host or segment plays a part.
class IntegerPrediction {
 public:
  /// @param largest  over all ranks, as LargestByGroup has it
  /// @throws Error unsupported as codec::Exact
  IntegerPrediction(const Case& of, std::span<const float> largest);

  /// Predicts values first .. first + out.size() - 1. Of fp16 and bf16 the parts are given as FP32,
  /// and so is the result.
  /// @param first  a multiple of the wire format's block
  /// @param parts  of each rank, the slice
  void predict(std::size_t first, std::span<const float* const> parts, std::span<float> out);

 private:
  void predict_exact(std::span<const float* const> parts, std::span<float> out);
  void predict_majority(std::span<const float* const> parts, std::span<float> out) const;
  void share_words(std::span<const float* const> parts, std::size_t count);

  Case case_;
  std::optional<codec::Exact> exact_;  // none: majority
  bool poisoned_ = false;              // of majority: some value of the tensor is not finite

  // Scratch for one slice.
  std::vector<std::uint32_t> words_;
  std::vector<std::uint32_t> own_words_;
  std::vector<std::int32_t> part_;
  std::vector<std::int32_t> sums_;
};

}  // namespace cpdcomm::perf
