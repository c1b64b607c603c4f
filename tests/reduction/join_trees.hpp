#pragma once

#include <span>
#include <vector>

#include "reduction/reduction.hpp"
#include "support/random.hpp"

namespace cpdcomm::testing {

/// The reductions of all ranks of one call, [rank].
using Ranks = std::span<reduction::Reduction* const>;

/// How the ranks' parts of one slice come together.
struct JoinTree {
  std::vector<std::byte> result;  ///< empty where `keeper` has kept the sum
  std::size_t keeper;             ///< the rank that joined last
};

/// Joins all parts of a slice along a tree drawn at random: the ranks in any order, each joins any
/// of the sums that are there, of single ranks also as parts from inside its host.
/// @param keeps  the last rank keeps the sum, as at the end of a reduce-scatter
JoinTree join_at_random(Ranks ranks, reduction::Slice slice, Random& random, bool keeps = false);

/// The whole all-reduce: every tensor is cut into slices at random multiples of its alignment, some
/// of several tensors; every rank gets the results.
/// @return the results' bytes, one slice after the other
std::vector<std::byte> reduce_at_random(Ranks ranks, Random& random);

/// A cut of all tensors for reduce_at_random and others.
std::vector<std::vector<reduction::Range>> cut_at_random(const reduction::Reduction& reduction,
                                                         Random& random);

}  // namespace cpdcomm::testing
