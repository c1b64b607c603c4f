#include "topology/cores.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "topology/machine.hpp"

namespace cpdcomm::topology {

int spare_cores(const Cores& cores, int ranks_on_host) {
  const int share = (cores.inherited ? cores.bound : cores.machine) / ranks_on_host;
  return std::max(0, std::min(cores.bound, share) - 1);
}

int spare_cores(int ranks_on_host) { return spare_cores(find_cores(), ranks_on_host); }

std::string describe_place() {
  const Cores cores = find_cores();
  const std::string place = find_place();
  return fmt::format("{}{}{} of {} cores", place, place.empty() ? "" : ", ", cores.bound,
                     cores.machine);
}

}  // namespace cpdcomm::topology
