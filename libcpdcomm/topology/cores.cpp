#include "topology/cores.hpp"

#include <algorithm>

#include "topology/machine.hpp"

namespace cpdcomm::topology {

int spare_cores(const Cores& cores, int ranks_on_host) {
  const int share = (cores.inherited ? cores.bound : cores.machine) / ranks_on_host;
  return std::max(0, std::min(cores.bound, share) - 1);
}

int spare_cores(int ranks_on_host) { return spare_cores(find_cores(), ranks_on_host); }

}  // namespace cpdcomm::topology
