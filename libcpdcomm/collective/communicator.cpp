#include "cpdcomm/communicator.hpp"

#include <fmt/format.h>

#include <condition_variable>
#include <exception>
#include <list>
#include <mutex>
#include <utility>
#include <vector>

#include "collective/allreduce.hpp"
#include "collective/byte_collectives.hpp"
#include "collective/dispatcher.hpp"
#include "collective/halves.hpp"
#include "collective/mover.hpp"
#include "collective/plain_collectives.hpp"
#include "collective/session.hpp"
#include "cpdcomm/threads.hpp"
#include "process.hpp"
#include "transport/threads.hpp"

namespace cpdcomm {
namespace {

using Milliseconds = std::chrono::milliseconds;

/// The tensors of a flat buffer.
/// @throws Error invalid_argument unless the ends ascend to the buffer's size
std::vector<Tensor> tensors_in(std::span<float> values, std::span<const std::size_t> ends) {
  const auto fail = [&](const std::string& what) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("the {} ends of tensors in a buffer of {} values must ascend to {}: {}",
                            ends.size(), values.size(), values.size(), what));
  };
  std::vector<Tensor> tensors;
  std::size_t begin = 0;
  for (const std::size_t end : ends) {
    if (end < begin || end > values.size()) fail(fmt::format("{} follows {}", end, begin));
    tensors.push_back({.data = values.data() + begin, .count = end - begin});
    begin = end;
  }
  if (begin != values.size()) fail(fmt::format("the last is {}", begin));
  return tensors;
}

std::string one_thread(const std::string& what) {
  return what +
         " on a thread of its own; MPI was initialised for one thread alone, and allows more with "
         "MPI_THREAD_SERIALIZED or MPI_THREAD_MULTIPLE";
}

}  // namespace

class Communicator::Impl {
 public:
  Impl(std::unique_ptr<transport::Transport> transport, const CommunicatorOptions& options)
      : session(std::move(transport), options) {}

  std::shared_ptr<Transfer::State> start(Transfer::State::Kind kind, std::byte* data,
                                         std::size_t size, int peer, std::uint32_t tag,
                                         std::chrono::milliseconds timeout, Ended then = {}) {
    if (!session.allows_threads()) {
      throw Error(ErrorCode::unsupported, one_thread("isend and irecv work"));
    }
    auto transfer = session.post(kind, data, size, peer, tag, timeout, std::move(then));
    mover.wake();
    return transfer;
  }

  const Maker maker;
  collective::Session session;
  collective::Dispatcher dispatcher;  // these two end before the session does
  collective::Mover mover{session};
};

class Pending::State {
 public:
  const Maker maker;

  State(std::span<const Tensor> all, const AllreduceOptions& asked)
      : options_(asked), tensors_(all.begin(), all.end()) {
    for (Tensor& tensor : tensors_) {
      if (tensor.nodes.empty()) continue;
      tensor.nodes = nodes_.emplace_back(tensor.nodes.begin(), tensor.nodes.end());
    }
  }

  void run(collective::Session& session) {
    // What is thrown has left its handler before anybody can wait for it: then only the waiting
    // thread holds it.
    std::exception_ptr thrown;
    Report made;
    try {
      made = collective::allreduce(session, tensors_, options_);
    } catch (...) {
      thrown = std::current_exception();
    }
    const std::lock_guard lock(mutex_);
    report_ = std::move(made);
    error_ = std::move(thrown);
    done_ = true;
    changed_.notify_all();
  }

  bool done() {
    const std::lock_guard lock(mutex_);
    return done_;
  }
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return done_; });
  }
  /// After wait(). Once.
  Report take() {
    if (std::exchange(taken_, true)) {
      throw Error(ErrorCode::invalid_argument, "the call's report has been handed over already");
    }
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
    return std::move(report_);
  }

 private:
  AllreduceOptions options_;
  std::vector<Tensor> tensors_;
  std::list<std::vector<const void*>> nodes_;
  std::mutex mutex_;
  std::condition_variable changed_;
  Report report_;
  std::exception_ptr error_;
  bool done_ = false;
  bool taken_ = false;  // by the thread that waits
};

Pending::Pending(std::shared_ptr<State> state) : state_(std::move(state)) {}
Pending::Pending(Pending&&) noexcept = default;
Pending& Pending::operator=(Pending&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}
Pending::~Pending() {
  if (!state_) return;
  if (state_->maker.is_this_process()) {
    state_->wait();
  } else {
    leave_to_parent(std::move(state_));
  }
}

bool Pending::done() const {
  state_->maker.require_this_process("this call");
  return state_->done();
}

Report Pending::wait() {
  state_->maker.require_this_process("this call");
  state_->wait();
  return state_->take();
}

Communicator::Communicator(std::unique_ptr<transport::Transport> transport,
                           const CommunicatorOptions& options)
    : impl_(std::make_unique<Impl>(std::move(transport), options)) {}
Communicator::Communicator(Communicator&&) noexcept = default;
Communicator& Communicator::operator=(Communicator&& other) noexcept {
  const Communicator gone(std::move(*this));
  impl_ = std::move(other.impl_);
  return *this;
}
Communicator::~Communicator() {
  if (impl_ && !impl_->maker.is_this_process()) leave_to_parent(std::move(impl_));
}

int Communicator::rank() const { return impl_->session.rank(); }
int Communicator::size() const { return impl_->session.size(); }

/// For what a fork cannot do.
Communicator::Impl& Communicator::impl() {
  impl_->maker.require_this_process("this communicator");
  return *impl_;
}

Report Communicator::allreduce(std::span<const Tensor> tensors, const AllreduceOptions& options) {
  return impl().dispatcher.in_turn(
      [&] { return collective::allreduce(impl_->session, tensors, options); });
}

Pending Communicator::iallreduce(std::span<const Tensor> tensors, const AllreduceOptions& options) {
  if (!impl().session.allows_threads()) {
    const std::string reason = one_thread("iallreduce works");
    refuse(reason);
    throw Error(ErrorCode::unsupported, reason);
  }
  auto state = std::make_shared<Pending::State>(tensors, options);
  impl().dispatcher.start([&session = impl_->session, state] { state->run(session); });
  return Pending(std::move(state));
}

Report Communicator::allreduce(std::span<float> values, const AllreduceOptions& options) {
  const Tensor tensor{.data = values.data(), .count = values.size()};
  return allreduce({&tensor, 1}, options);
}

Report Communicator::allreduce(std::span<float> values, std::span<const std::size_t> ends,
                               const AllreduceOptions& options) {
  std::vector<Tensor> tensors;
  try {
    tensors = tensors_in(values, ends);
  } catch (const Error& error) {
    refuse(error.what());
    throw;
  }
  return allreduce(tensors, options);
}

Report Communicator::reduce(std::span<const Tensor> tensors, int root, ReduceOp op,
                            Milliseconds timeout) {
  return impl().dispatcher.in_turn(
      [&] { return collective::reduce(impl_->session, tensors, root, op, timeout); });
}
Report Communicator::broadcast(std::span<std::byte> bytes, int root, Milliseconds timeout) {
  return impl().dispatcher.in_turn(
      [&] { return collective::broadcast(impl_->session, bytes, root, timeout); });
}
Report Communicator::allgather(std::span<const std::byte> mine, std::span<std::byte> all,
                               Milliseconds timeout) {
  return impl().dispatcher.in_turn(
      [&] { return collective::allgather(impl_->session, mine, all, timeout); });
}
Report Communicator::gather(std::span<const std::byte> mine, std::span<std::byte> all, int root,
                            Milliseconds timeout) {
  return impl().dispatcher.in_turn(
      [&] { return collective::gather(impl_->session, mine, all, root, timeout); });
}
Report Communicator::scatter(std::span<const std::byte> all, std::span<std::byte> mine, int root,
                             Milliseconds timeout) {
  return impl().dispatcher.in_turn(
      [&] { return collective::scatter(impl_->session, all, mine, root, timeout); });
}
Report Communicator::alltoall(std::span<const std::byte> to_all, std::span<std::byte> from_all,
                              Milliseconds timeout) {
  return impl().dispatcher.in_turn(
      [&] { return collective::alltoall(impl_->session, to_all, from_all, timeout); });
}
Report Communicator::alltoall(std::span<const std::byte> to_all,
                              std::span<const std::size_t> to_sizes, std::span<std::byte> from_all,
                              std::span<const std::size_t> from_sizes, Milliseconds timeout) {
  return impl().dispatcher.in_turn([&] {
    return collective::alltoall(impl_->session, to_all, to_sizes, from_all, from_sizes, timeout);
  });
}
Transfer Communicator::isend(std::span<const std::byte> bytes, int peer, std::uint32_t tag,
                             Milliseconds timeout) {
  // Only read, as all that is sent.
  return Transfer(impl().start(Transfer::State::Kind::send, const_cast<std::byte*>(bytes.data()),
                               bytes.size(), peer, tag, timeout));
}
void Communicator::isend(std::span<const std::byte> bytes, int peer, std::uint32_t tag, Ended then,
                         Milliseconds timeout) {
  impl().start(Transfer::State::Kind::send, const_cast<std::byte*>(bytes.data()), bytes.size(),
               peer, tag, timeout, std::move(then));
}
void Communicator::irecv(std::span<std::byte> bytes, int peer, std::uint32_t tag, Ended then,
                         Milliseconds timeout) {
  impl().start(Transfer::State::Kind::receive, bytes.data(), bytes.size(), peer, tag, timeout,
               std::move(then));
}
Transfer Communicator::irecv(std::span<std::byte> bytes, int peer, std::uint32_t tag,
                             Milliseconds timeout) {
  return Transfer(
      impl().start(Transfer::State::Kind::receive, bytes.data(), bytes.size(), peer, tag, timeout));
}
Report Communicator::reduce_scatter(const void* parts, DataType type, const Tensor& share,
                                    const AllreduceOptions& options) {
  return reduce_scatter(parts, type, share, {}, options);
}
Report Communicator::reduce_scatter(const void* parts, DataType type, const Tensor& share,
                                    std::span<const std::size_t> ends,
                                    const AllreduceOptions& options) {
  return impl().dispatcher.in_turn([&] {
    return collective::reduce_scatter(impl_->session, parts, type, share, ends, options);
  });
}
Report Communicator::allgather(const void* mine, const Tensor& all,
                               const AllreduceOptions& options) {
  return impl().dispatcher.in_turn(
      [&] { return collective::allgather(impl_->session, mine, all, options); });
}
Report Communicator::barrier(Milliseconds timeout) {
  return impl().dispatcher.in_turn([&] { return collective::barrier(impl_->session, timeout); });
}
void Communicator::refuse(const std::string& reason, ErrorCode code) {
  impl().dispatcher.in_turn([&] { impl_->session.refuse(reason, code); });
}
void Communicator::abort() {
  if (impl_->maker.is_this_process()) impl_->session.abort();
}

std::vector<Communicator> make_thread_communicators(int ranks, const CommunicatorOptions& options,
                                                    int ranks_per_host) {
  std::vector<Communicator> communicators;
  for (auto& transport : transport::make_thread_transports(ranks, ranks_per_host)) {
    communicators.emplace_back(std::move(transport), options);
  }
  return communicators;
}

}  // namespace cpdcomm
