#pragma once

#include <vector>

#include "tune/contenders.hpp"

namespace cpdcomm::perf::tune {

/// Times all contenders at all sizes, call by call in turn.
/// @return by contender: medians over the rounds of the mean over the ranks; the same on every rank
std::vector<collective::tuning::Curve> measure(const Options& options,
                                               const std::vector<Contender>& contenders);

}  // namespace cpdcomm::perf::tune
