#include "backend.hpp"

#include <pthread.h>
#include <pybind11/pybind11.h>

#include <cstdio>
#include <set>
#include <utility>

#include "start.hpp"

namespace cpdcomm::torch_adapter {
namespace {

/// The groups of this process; torch keeps them, so Python cannot count them.
struct Live {
  std::mutex mutex;
  std::set<Backend*> backends;
};

/// They outlive every group. A fork begins with none, and with a lock that nobody holds.
Live* groups = new Live;

Live& live() {
  static const int forks = pthread_atfork(nullptr, nullptr, [] { groups = new Live; });
  static_cast<void>(forks);  // where there is no memory for it, forks only find the lock as it was
  return *groups;
}

/// "all_reduce", of "cpd:all_reduce".
std::string operation_of(const char* title) {
  const std::string text = title;
  return text.substr(text.find(':') + 1);
}

}  // namespace

thread_local const Backend* Backend::in_callback_of_ = nullptr;

Backend::Backend(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size, int tag,
                 Origin origin, const Policy& policy)
    : c10d::Backend(rank, size),
      communicator_(std::make_unique<Communicator>(connect(store, rank, size, tag, origin))),
      origin_(std::move(origin)),
      policy_(policy) {
  const std::lock_guard lock(live().mutex);
  live().backends.insert(this);
}

Backend::~Backend() {
  if (is_inherited()) {
    static_cast<void>(thread_.release());  // its thread is the parent's
    return;
  }
  // A job's callbacks may want the interpreter, which must not wait for them while it is held.
  std::optional<pybind11::gil_scoped_release> released;
  if (Py_IsInitialized() != 0 && PyGILState_Check() != 0) released.emplace();
  {
    const std::lock_guard lock(live().mutex);
    live().backends.erase(this);
  }
  shutdown();
}

void Backend::shutdown_all(bool clean) {
  const std::lock_guard lock(live().mutex);
  for (Backend* backend : live().backends) {
    if (!clean) backend->abort();
    backend->end();
    backend->shutdown();
  }
}

/// Peers that wait for this rank's next call wait for nothing.
void Backend::end() {
  if (!thread_->finishing()) refuse("its process has ended", ErrorCode::peer_failed);
}

void Backend::shutdown() {
  if (is_inherited()) return;
  if (thread_->is_this_thread() || in_callback_of_ == this) {
    throw Error(ErrorCode::unsupported,
                "a group cannot be shut down from a callback of one of its own operations");
  }
  std::call_once(closed_, [this] {
    thread_->finish();
    if (getRank() == 0 && environment_debug()) print_totals();
    // Destroyed without the lock, which callbacks of messages take.
    std::unique_ptr<Communicator> gone;
    const std::lock_guard lock(mutex_);
    gone.swap(communicator_);
  });
}

/// What travelled in few bits, and what did not.
void Backend::print_totals() const {
  for (const auto& [operation, total] : stats().by_operation) {
    std::fprintf(stderr,
                 "cpdcomm: a group of %d ends: %s: %llu calls, %llu compressed, %llu bytes sent by "
                 "rank 0 for %llu of tensors\n",
                 getSize(), operation.c_str(), static_cast<unsigned long long>(total.calls),
                 static_cast<unsigned long long>(total.compressed),
                 static_cast<unsigned long long>(total.wire_bytes),
                 static_cast<unsigned long long>(total.logical_bytes));
  }
}

void Backend::abort() {
  if (is_inherited()) return;
  const std::lock_guard lock(mutex_);
  if (communicator_) communicator_->abort();
}

bool Backend::is_inherited() const { return getpid() != maker_; }

/// Before any lock: another thread may have held it when this process was forked.
void Backend::require_own() const {
  if (!is_inherited()) return;
  throw Error(ErrorCode::unsupported,
              "this process group belongs to process " + std::to_string(maker_) +
                  ", of which process " + std::to_string(getpid()) +
                  " is a fork: destroy it there and make one of the child's own, with a store or a "
                  "port that its parent does not use");
}

void Backend::enqueue(GroupThread::Job job) {
  // A callback of an operation may wait for another one: it is done in its place, which is the same
  // on all ranks, because the thread can do nothing else meanwhile.
  if (thread_->is_this_thread()) return job();
  if (!thread_->add(std::move(job))) {
    throw Error(ErrorCode::peer_failed, "this process group has been shut down");
  }
}

/// On the group's thread, which ends before the communicator does: for the next call.
Communicator& Backend::communicator() {
  called_ = true;
  return *communicator_;
}

/// In a handler. What goes wrong here alone, such as memory that there is not, must not leave the
/// peers in a call that this rank does not make, nor let them meet its next one.
void Backend::refuse_unless_called() {
  if (called_) return;
  try {
    throw;
  } catch (const std::exception& error) {
    try {
      communicator().refuse(error.what());
    } catch (const Error&) {
      // The group is dead, and its peers know.
    }
  }
}

std::uint64_t Backend::getSequenceNumberForGroup() {
  require_own();
  const std::lock_guard lock(mutex_);
  return sequence_;
}

void Backend::setTimeout(Milliseconds timeout) {
  require_own();
  if (timeout.count() < 1) {
    throw Error(ErrorCode::invalid_argument,
                "timeout is " + std::to_string(timeout.count()) + " ms; at least 1 is allowed");
  }
  const std::lock_guard lock(mutex_);
  timeout_ = timeout;
}

/// A call's own timeout, else what was set for the group; 0 is the communicator's.
Backend::Milliseconds Backend::timeout_of(Milliseconds asked) const {
  if (asked.count() > 0) return asked;
  const std::lock_guard lock(mutex_);
  return timeout_;
}

/// Where neither the call nor the group has a timeout, that of the options stays.
void Backend::limit(AllreduceOptions& options, Milliseconds asked) const {
  const Milliseconds timeout = timeout_of(asked);
  if (timeout.count() > 0) options.timeout = timeout;
}

c10::intrusive_ptr<c10d::Backend::Options> Backend::getBackendOptions() {
  const Milliseconds set = timeout_of(c10d::kUnsetTimeout);
  return c10::make_intrusive<Options>(getBackendName(), set.count() > 0 ? set : origin_.timeout);
}

c10::intrusive_ptr<c10d::Backend> Backend::split(const c10::intrusive_ptr<c10d::Store>& store,
                                                 const std::vector<int>& ranks,
                                                 const c10::intrusive_ptr<Options>& options) {
  const auto own = std::find(ranks.begin(), ranks.end(), getRank());
  if (own == ranks.end()) return nullptr;
  Origin origin = origin_;
  if (options && options->timeout.count() > 0) origin.timeout = options->timeout;
  constexpr std::uint32_t kTags = 0x8000;
  std::uint32_t tag = 0;
  for (const int rank : ranks) tag = tag * 31 + static_cast<std::uint32_t>(rank) + 1;
  return c10::make_intrusive<Backend>(store, static_cast<int>(own - ranks.begin()),
                                      static_cast<int>(ranks.size()), static_cast<int>(tag % kTags),
                                      origin, policy_);
}

Stats Backend::stats() const {
  require_own();
  const std::lock_guard lock(mutex_);
  return stats_;
}

/// @param asked  whether values were to travel in a wire format
void Backend::count(const char* title, const Report& report, bool asked) {
  const std::string operation = operation_of(title);
  const std::lock_guard lock(mutex_);
  OperationStats& stats = stats_.by_operation[operation];
  ++stats.calls;
  if (asked && report.compressed) ++stats.compressed;
  stats.wire_bytes += report.wire_bytes;
  stats.logical_bytes += report.logical_bytes;
  if (operation != "all_reduce") return;
  stats_.calls = stats.calls;
  stats_.wire_bytes = stats.wire_bytes;
  stats_.logical_bytes = stats.logical_bytes;
}

void Backend::refuse(const std::string& reason, ErrorCode code) {
  require_own();
  {
    // The peers count the call that they make.
    const std::lock_guard lock(mutex_);
    ++sequence_;
  }
  enqueue([this, reason, code] { communicator().refuse(reason, code); });
}

}  // namespace cpdcomm::torch_adapter
