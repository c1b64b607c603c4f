#pragma once

#include "cpdcomm/options.hpp"
#include "schedule/schedule.hpp"

namespace cpdcomm::collective {

/// What `automatic` stands for: a fixed rule, so every rank and every run chooses alike.
Algorithm choose(Algorithm asked, int ranks);

/// The schedule of an algorithm that has been chosen.
schedule::Schedule schedule_of(Algorithm algorithm, int rank, int ranks);

}  // namespace cpdcomm::collective
