#pragma once

#include <string>

#include "topology/cores.hpp"

namespace cpdcomm::topology {

/// What the system says: one file for machines with hwloc, one for those without.
Cores find_cores();

/// Packages and NUMA nodes that this process is bound to, as "package 0, NUMA node 0"; empty when
/// that cannot be known.
std::string find_place();

}  // namespace cpdcomm::topology
