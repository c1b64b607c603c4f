#pragma once

#include <cstddef>
#include <vector>

#include "support/reference_sum.hpp"

namespace cpdcomm::testing {

/// Who sums what, by rank, where ReferenceSum must be told.
std::vector<schedule::Schedule> schedules_of(const SumRules& rules, int ranks);

/// How many chunks the vector has.
int chunks_in(const SumRules& rules, int ranks);

/// For each value of each tensor of a call the chunk that it is in.
/// @param counts  values of each tensor
std::vector<std::vector<int>> chunks_of(const std::vector<std::size_t>& counts,
                                        const SumRules& rules, int ranks, int nodes);

}  // namespace cpdcomm::testing
