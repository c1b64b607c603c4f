#include "transport/threads.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <utility>

#include "cpdcomm/error.hpp"
#include "transport/slots.hpp"

namespace cpdcomm::transport {
namespace {

/// A receive that waits for its message. Shared by the receiver and the mailbox.
struct Pending {
  std::span<std::byte> room;
  std::atomic<bool> arrived{false};
};

/// What one rank's peers have sent on one channel and it has not taken, or the other way round.
struct Queue {
  std::deque<std::vector<std::byte>> messages;
  std::deque<std::shared_ptr<Pending>> receives;
};

struct Mailbox {
  std::mutex mutex;
  std::map<std::pair<int, int>, Queue> queues;  // by sender and channel
};

using World = std::vector<Mailbox>;

void deliver(Pending& pending, std::span<const std::byte> bytes) {
  // A message of other ranks' other call may be longer; its header, which comes first, says so.
  const std::size_t size = std::min(bytes.size(), pending.room.size());
  if (size != 0) std::memcpy(pending.room.data(), bytes.data(), size);
  pending.arrived.store(true, std::memory_order_release);
}

class ThreadTransport final : public Transport {
 public:
  ThreadTransport(std::shared_ptr<World> world, int rank) : world_(std::move(world)), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(world_->size()); }

  Request receive(int peer, int channel, std::span<std::byte> room) override {
    auto pending = std::make_shared<Pending>();
    pending->room = room;
    Mailbox& own = box(rank_);
    const std::lock_guard lock(own.mutex);
    Queue& queue = own.queues[{peer, channel}];
    if (queue.messages.empty()) {
      queue.receives.push_back(pending);
    } else {
      deliver(*pending, queue.messages.front());
      queue.messages.pop_front();
    }
    return requests_.add({std::move(pending), peer, channel});
  }

  bool done(Request request) override {
    const auto& pending = requests_[request].pending;
    if (pending && !pending->arrived.load(std::memory_order_acquire)) return false;
    requests_.remove(request);
    return true;
  }

  bool cancel(Request request) override {
    const Started& started = requests_[request];
    if (started.pending) {
      Mailbox& own = box(rank_);
      const std::lock_guard lock(own.mutex);
      std::erase(own.queues[{started.peer, started.channel}].receives, started.pending);
    }
    requests_.remove(request);
    return true;
  }

  bool sends_wait_for_peers() const override { return false; }
  void keep_address() override {}
  void abandon() override {}

 private:
  struct Started {
    std::shared_ptr<Pending> pending;  // none for a send, which is done at once
    int peer = 0;
    int channel = 0;
  };

  Request start_send(int peer, int channel, std::span<const std::byte> bytes) override {
    Mailbox& target = box(peer);
    const std::lock_guard lock(target.mutex);
    Queue& queue = target.queues[{rank_, channel}];
    if (queue.receives.empty()) {
      queue.messages.emplace_back(bytes.begin(), bytes.end());
    } else {
      deliver(*queue.receives.front(), bytes);
      queue.receives.pop_front();
    }
    return requests_.add({});
  }

  Mailbox& box(int rank) { return (*world_)[static_cast<std::size_t>(rank)]; }

  std::shared_ptr<World> world_;
  int rank_;
  Slots<Started> requests_;
};

}  // namespace

std::vector<std::unique_ptr<Transport>> make_thread_transports(int ranks) {
  if (ranks < 1) {
    throw Error(ErrorCode::invalid_argument, fmt::format("{} thread ranks: at least 1", ranks));
  }
  const auto world = std::make_shared<World>(static_cast<std::size_t>(ranks));
  std::vector<std::unique_ptr<Transport>> transports;
  for (int rank = 0; rank < ranks; ++rank) {
    transports.push_back(std::make_unique<ThreadTransport>(world, rank));
  }
  return transports;
}

}  // namespace cpdcomm::transport
