#pragma once

#include <span>
#include <string>

#include "schedule/schedule.hpp"

namespace cpdcomm::schedule {

/// Plays an all-reduce through with messages that carry sets of ranks instead of values.
///
/// @param by_rank  the schedule of every rank, in rank order
/// @return  empty when every chunk's result holds every rank's part exactly once on every rank,
/// each
///          message is announced alike at both ends and no rank waits for ever; else what is wrong
std::string disprove_allreduce(std::span<const Schedule> by_rank);

}  // namespace cpdcomm::schedule
