#pragma once

#include <span>
#include <string>

#include "schedule/schedule.hpp"

namespace cpdcomm::schedule {

// Schedules are played through with messages that carry sets of ranks instead of values.

/// @param by_rank  the schedule of every rank, in rank order
/// @return  empty when every chunk's result holds every rank's part exactly once on every rank,
///          each message is announced alike at both ends (chunk, payload, parts, leg) and holds
///          what it says, and no rank waits for ever; else what is wrong
std::string disprove_allreduce(std::span<const Schedule> by_rank);

/// The same of a reduce-scatter: rank r keeps the sum of chunk r, and nothing else is kept.
std::string disprove_reduce_scatter(std::span<const Schedule> by_rank);

/// The same of what moves chunks as they are, or sums them to one rank: each chunk holds the parts
/// that it should, exactly once, on every rank that should have it.
enum class Movement { broadcast, allgather, gather, scatter, alltoall, reduce };
/// @param root  of broadcast, gather, scatter and reduce
std::string disprove(Movement movement, std::span<const Schedule> by_rank, int root = 0);

/// The most messages that are ever under way to one rank or held by it, in the worst order of
/// events: the rank stops anywhere, and all others run as far as they can without it. A rank waits
/// for given messages, so by stopping it only lets more of them come.
/// @param by_rank  schedules that have no fault
int most_messages_waiting(std::span<const Schedule> by_rank);

}  // namespace cpdcomm::schedule
