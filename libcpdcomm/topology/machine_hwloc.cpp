#include <hwloc.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <mutex>

#include "topology/machine.hpp"

namespace cpdcomm::topology {
namespace {

struct Free {
  void operator()(hwloc_bitmap_t set) const { hwloc_bitmap_free(set); }
};
using CpuSet = std::unique_ptr<hwloc_bitmap_s, Free>;

/// Loaded once, because that takes milliseconds, and kept to the end.
hwloc_topology_t machine() {
  static const hwloc_topology_t loaded = [] {
    hwloc_topology_t topology = nullptr;
    if (hwloc_topology_init(&topology) != 0) return hwloc_topology_t{};
    if (hwloc_topology_load(topology) == 0) return topology;
    hwloc_topology_destroy(topology);
    return hwloc_topology_t{};
  }();
  return loaded;
}

/// Where a process may run; all of the machine when that is not told.
CpuSet binding_of(pid_t process) {
  CpuSet set(hwloc_bitmap_alloc());
  const bool known =
      hwloc_get_proc_cpubind(machine(), process, set.get(), HWLOC_CPUBIND_PROCESS) == 0;
  const auto all = hwloc_topology_get_topology_cpuset(machine());
  if (known) {
    hwloc_bitmap_and(set.get(), set.get(), all);
  } else {
    hwloc_bitmap_copy(set.get(), all);
  }
  return set;
}

/// Objects of a type that have a part in a set: half a core is one, too.
template <typename Visit>
void visit(hwloc_obj_type_t type, hwloc_const_cpuset_t set, Visit&& each) {
  hwloc_obj_t object = nullptr;
  while ((object = hwloc_get_next_obj_by_type(machine(), type, object)) != nullptr) {
    if (hwloc_bitmap_intersects(object->cpuset, set)) each(object);
  }
}

int count_cores(hwloc_const_cpuset_t set) {
  int cores = 0;
  visit(HWLOC_OBJ_CORE, set, [&](hwloc_obj_t) { ++cores; });
  // Some virtual machines tell of no cores.
  if (cores == 0) cores = hwloc_bitmap_weight(set);
  return std::max(1, cores);
}

/// The library is loaded by one thread, and asked by one at a time.
std::unique_lock<std::mutex> turn() {
  static std::mutex mutex;
  return std::unique_lock(mutex);
}

}  // namespace

Cores find_cores() {
  const auto lock = turn();
  if (machine() == nullptr) return {};
  const CpuSet own = binding_of(getpid());
  const CpuSet starter = binding_of(getppid());
  return {.machine = count_cores(hwloc_topology_get_topology_cpuset(machine())),
          .bound = count_cores(own.get()),
          .inherited = hwloc_bitmap_isequal(own.get(), starter.get()) != 0};
}

}  // namespace cpdcomm::topology
