#pragma once

#include "collective/tuning/question.hpp"
#include "schedule/cost.hpp"

namespace cpdcomm::perf::tune {

/// Latency and bandwidth between all ranks at once, by plain MPI messages; the same on every rank.
/// Where a place has no two ranks on a host, or only one host, both kinds of link are alike.
/// @param hosts  of each rank
schedule::Network measure_network(const schedule::Hosts& hosts);

}  // namespace cpdcomm::perf::tune
