#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "topology/machine.hpp"

namespace cpdcomm::topology {
namespace {

/// Processors that a process may run on; as many as there are when that is not told.
std::vector<bool> binding_of(pid_t process) {
  cpu_set_t set;
  CPU_ZERO(&set);
  const auto all = static_cast<std::size_t>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
  if (sched_getaffinity(process, sizeof set, &set) != 0) return std::vector<bool>(all, true);
  std::vector<bool> allowed(CPU_SETSIZE);
  for (std::size_t i = 0; i < allowed.size(); ++i) allowed[i] = CPU_ISSET(i, &set);
  return allowed;
}

}  // namespace

/// Without hwloc each hardware thread counts as a core.
Cores find_cores() {
  const auto own = binding_of(0);
  return {.machine = static_cast<int>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN))),
          .bound = static_cast<int>(std::ranges::count(own, true)),
          .inherited = own == binding_of(getppid())};
}

}  // namespace cpdcomm::topology
