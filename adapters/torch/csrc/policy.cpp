#include "policy.hpp"

#include <pthread.h>

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

/// A fork has the changes of its parent, and no thread that would give back a lock.
void guard_forks() {
  static const int guarded =
      pthread_atfork([] { changes().mutex.lock(); }, [] { changes().mutex.unlock(); },
                     [] { changes().mutex.unlock(); });
  static_cast<void>(guarded);
}

}  // namespace

int add_change(Change change) {
  guard_forks();
  const std::lock_guard lock(changes().mutex);
  changes().all.emplace(++changes().last, std::move(change));
  return changes().last;
}

void take_back(int change) {
  const std::lock_guard lock(changes().mutex);
  changes().all.erase(change);
}

Policy in_force(Policy policy) {
  guard_forks();
  const std::lock_guard lock(changes().mutex);
  for (const auto& [number, change] : changes().all) change(policy);
  return policy;
}

AllreduceOptions options_for(const Policy& policy, bool wanted, ReduceOp op, std::size_t bytes) {
  const bool is_sum = op == ReduceOp::sum || op == ReduceOp::average;
  const bool is_small = bytes < policy.selection.min_bytes && !is_lossless(policy.options);
  if (!wanted || !is_sum || is_small) return exact_options(policy, op);
  AllreduceOptions options = policy.options;
  options.op = op;
  return options;
}

AllreduceOptions exact_options(const Policy& policy, ReduceOp op) {
  AllreduceOptions exact;
  exact.op = op;
  exact.algorithm = policy.options.algorithm;
  exact.across = policy.options.across;
  exact.timeout = policy.options.timeout;
  return exact;
}

bool is_lossless(const AllreduceOptions& options) {
  return options.wire.is_fp32() && (!options.inner || options.inner->is_fp32());
}

}  // namespace cpdcomm::torch_adapter
