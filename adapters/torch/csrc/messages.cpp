// Messages between two ranks, which go beside the collectives.
#include <algorithm>

#include "checks.hpp"
#include "start.hpp"
#include "tensors.hpp"

namespace cpdcomm::torch_adapter {
namespace {

using c10d::OpType;

/// torch's tags are never negative.
constexpr std::uint32_t kMonitoredBarrier = ~std::uint32_t{0};

/// A callback of a message runs on a thread that the communicator's end waits for.
class InCallback {
 public:
  explicit InCallback(const Backend* backend) { Backend::set_in_callback_of(backend); }
  ~InCallback() { Backend::set_in_callback_of(nullptr); }
  InCallback(const InCallback&) = delete;
};

Error shut_down() { return {ErrorCode::peer_failed, "this process group has been shut down"}; }

/// In the words that users of gloo look for.
Error late(int rank, std::chrono::milliseconds timeout, const std::vector<std::size_t>& missing) {
  std::string ranks;
  for (const std::size_t peer : missing) {
    ranks += (ranks.empty() ? "" : ", ") + std::to_string(peer);
  }
  return {ErrorCode::timeout, "Rank " + std::to_string(rank) +
                                  " timed out in monitoredBarrier after " +
                                  std::to_string(timeout.count()) +
                                  " ms: " + (missing.size() > 1 ? "Ranks " : "Rank ") + ranks +
                                  " failed to pass monitoredBarrier"};
}

}  // namespace

Backend::WorkPtr Backend::start_message(const Name& name, const Tensors& tensors, int peer,
                                        int tag) {
  require_own();
  check_one(tensors, "a message");
  check_all_cpu(tensors);
  const bool is_send = name.type == OpType::SEND;
  const auto dense = std::make_shared<Contiguous>(tensors);
  const std::span<std::byte> bytes = bytes_of((*dense)[0]);
  const Milliseconds timeout = timeout_of(c10d::kUnsetTimeout);
  const std::lock_guard lock(mutex_);
  if (!communicator_) throw shut_down();
  auto work = c10::make_intrusive<Work>(getRank(), name.type, name.title, tensors,
                                        is_send ? Tensors() : tensors, 0);
  const auto then = [this, work, dense, is_send, title = name.title, size = bytes.size(),
                     state = at::ThreadLocalState()](int source, std::exception_ptr error) {
    const InCallback here(this);
    if (error) return work->fail(error);
    try {
      const at::ThreadLocalStateGuard as_the_caller(state);
      if (!is_send) dense->copy_back();
    } catch (...) {
      return work->fail(std::current_exception());
    }
    Report report;
    report.logical_bytes = size;
    report.wire_bytes = is_send ? size : 0;
    count(title, report, false);
    work->succeed(source);
  };
  const auto label = static_cast<std::uint32_t>(tag);
  if (is_send) {
    communicator_->isend(bytes, peer, label, then, timeout);
  } else {
    communicator_->irecv(bytes, peer, label, then, timeout);
  }
  return work;
}

Backend::WorkPtr Backend::send(Tensors& tensors, int peer, int tag) {
  return start_message({OpType::SEND, "cpd:send"}, tensors, peer, tag);
}

Backend::WorkPtr Backend::recv(Tensors& tensors, int peer, int tag) {
  return start_message({OpType::RECV, "cpd:recv"}, tensors, peer, tag);
}

Backend::WorkPtr Backend::recvAnysource(Tensors& tensors, int tag) {
  return start_message({OpType::RECVANYSOURCE, "cpd:recvAnySource"}, tensors, kAnyRank, tag);
}

/// Rank 0 hears from every rank, then tells all that it has. On those that it has not heard from in
/// time it reports: on the first, or with `wait_for_all` on all.
void Backend::monitoredBarrier(const c10d::BarrierOptions& options, bool wait_for_all) {
  require_own();
  const Milliseconds set = timeout_of(c10d::kUnsetTimeout);
  const Milliseconds of_group = set.count() > 0 ? set : origin_.timeout;
  const Milliseconds timeout = options.timeout.count() >= 0 ? options.timeout : of_group;
  // What they wait for ends later, so that this rank can say more.
  const Milliseconds long_enough = 2 * timeout + std::chrono::seconds(1);
  const std::span<std::byte> nothing;  // that it comes says all
  std::vector<Transfer> heard;         // waited for after the lock is given back
  std::unique_lock lock(mutex_);
  if (!communicator_) throw shut_down();
  Communicator& all = *communicator_;
  const auto tell = [&](int peer) {
    heard.push_back(all.isend(nothing, peer, kMonitoredBarrier, long_enough));
  };
  const auto hear = [&](int peer) {
    heard.push_back(all.irecv(nothing, peer, kMonitoredBarrier, long_enough));
  };
  for (int peer = 1; getRank() == 0 && peer < getSize(); ++peer) hear(peer);
  if (getRank() != 0) tell(0);
  if (getRank() != 0) hear(0);
  lock.unlock();
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  std::vector<std::size_t> missing;
  for (std::size_t i = 0; i < heard.size(); ++i) {
    const auto left =
        std::chrono::duration_cast<Milliseconds>(deadline - std::chrono::steady_clock::now());
    if (heard[i].wait_for(std::max(left, Milliseconds(0)))) {
      heard[i].wait();
      continue;
    }
    missing.push_back(getRank() == 0 ? i + 1 : 0);
    if (!wait_for_all) break;
  }
  if (!missing.empty()) {
    abort();
    throw late(getRank(), timeout, missing);
  }
  lock.lock();
  for (int peer = 1; getRank() == 0 && peer < getSize(); ++peer) tell(peer);
}

}  // namespace cpdcomm::torch_adapter
