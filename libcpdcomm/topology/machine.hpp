#pragma once

#include "topology/cores.hpp"

namespace cpdcomm::topology {

/// What the system says: one file for machines with hwloc, one for those without.
Cores find_cores();

}  // namespace cpdcomm::topology
