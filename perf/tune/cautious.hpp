#pragma once

#include "collective/tuning/table.hpp"

namespace cpdcomm::perf::tune {

/// Of two launches in one place: of MPI's own times the shorter, of the library's the longer, so
/// that `automatic` takes the library's where it was faster in both. What only one of them has
/// measured counts as it is. The rest is that of the later one; rules are those of the earlier.
collective::tuning::Profile cautious(const collective::tuning::Profile& earlier,
                                     collective::tuning::Profile later);

}  // namespace cpdcomm::perf::tune
