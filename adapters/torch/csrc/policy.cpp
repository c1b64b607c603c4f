#include "policy.hpp"

#include <map>
#include <mutex>
#include <utility>

namespace cpdcomm::torch_adapter {
namespace {

struct Changes {
  std::mutex mutex;
  std::map<int, Change> all;  // in their order
  int last = 0;
};

Changes& changes() {
  static auto* const kept = new Changes;  // outlives every thread
  return *kept;
}

}  // namespace

int add_change(Change change) {
  const std::lock_guard lock(changes().mutex);
  changes().all.emplace(++changes().last, std::move(change));
  return changes().last;
}

void take_back(int change) {
  const std::lock_guard lock(changes().mutex);
  changes().all.erase(change);
}

Policy in_force(Policy policy) {
  const std::lock_guard lock(changes().mutex);
  for (const auto& [number, change] : changes().all) change(policy);
  return policy;
}

}  // namespace cpdcomm::torch_adapter
