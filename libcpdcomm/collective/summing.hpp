#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "collective/group_slices.hpp"
#include "collective/session.hpp"
#include "cpdcomm/codec.hpp"
#include "reduction/elements.hpp"
#include "reduction/reduction.hpp"

namespace cpdcomm::collective {

/// An all-reduce that sums, with all that its parts need.
struct Summing {
  Session& session;
  Run& run;
  std::span<const Tensor> tensors;
  const AllreduceOptions& options;
  Report& report;

  /// Ranks times emulated nodes: the most parts that a sum has.
  std::uint64_t world() const;
  /// What a sum is divided by.
  float divisor() const;
  /// Seed, step and this rank, where casts round stochastically.
  std::optional<RandomStream> random_words() const;
  const schedule::Schedule& schedule() const;
};

/// Where this rank's part of a tensor is.
const void* own_part(const Tensor& tensor);
/// What this rank brings of a tensor.
reduction::Gradients gradients_of(const Tensor& tensor);

/// Runs a reduction on the call's schedule.
void run_alone(const Summing& call, reduction::Reduction& reduction);

/// Runs the MAX of the words that scale a sum, then the sum.
/// @param grouped  per tensor of the sum, which words are its own, if any
/// @param at_once  segment by segment, where groups fit into a message: a segment's words travel
///                 right before its values, which are then cut at multiples of the groups. Else all
///                 words go first.
void run_scaled(const Summing& call, reduction::Reduction& words, reduction::Reduction& sum,
                const std::vector<std::optional<Grouped>>& grouped, bool at_once);

}  // namespace cpdcomm::collective
