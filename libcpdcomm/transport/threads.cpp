#include "transport/threads.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <map>
#include <mutex>
#include <utility>

#include "cpdcomm/error.hpp"

namespace cpdcomm::transport {
namespace {

using Bytes = std::vector<std::byte>;

/// What one rank's peers have sent, and the memory of messages that it has taken and released.
struct Mailbox {
  std::mutex mutex;
  std::map<std::pair<int, int>, std::deque<Bytes*>> queues;  // by sender and channel
  std::vector<std::unique_ptr<Bytes>> messages;
  std::vector<Bytes*> free;

  Bytes* take_free() {
    if (free.empty()) return messages.emplace_back(std::make_unique<Bytes>()).get();
    Bytes* const bytes = free.back();
    free.pop_back();
    return bytes;
  }
};

struct World {
  World(int ranks, int ranks_per_host)
      : mailboxes(static_cast<std::size_t>(ranks)), ranks_on_host(ranks_per_host) {}

  std::vector<Mailbox> mailboxes;
  int ranks_on_host;
};

class ThreadTransport final : public Transport {
 public:
  ThreadTransport(std::shared_ptr<World> world, int rank) : world_(std::move(world)), rank_(rank) {}

  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(world_->mailboxes.size()); }
  std::string_view name() const override { return kThreads; }
  int host_of(int rank) const override { return rank / world_->ranks_on_host; }
  int ranks_on_machine() const override { return size(); }

  /// A message is copied when it is sent: then it is done.
  bool done(Request /*request*/) override { return true; }

  void expect(int /*peer*/, int /*channel*/) override {}

  bool take(int peer, int channel, Arrival& arrival) override {
    Mailbox& own = box(rank_);
    const std::lock_guard lock(own.mutex);
    const auto found = own.queues.find({peer, channel});
    if (found == own.queues.end() || found->second.empty()) return false;
    Bytes* const bytes = found->second.front();
    found->second.pop_front();
    arrival = {bytes->data(), bytes->size(), reinterpret_cast<std::uintptr_t>(bytes)};
    return true;
  }

  void release(const Arrival& arrival) override {
    Mailbox& own = box(rank_);
    const std::lock_guard lock(own.mutex);
    own.free.push_back(reinterpret_cast<Bytes*>(arrival.token));
  }

  void progress() override {}
  bool sends_wait_for_peers() const override { return false; }
  void keep_address() override {}
  void abandon() override {}

 private:
  Request start_send(int peer, int channel, std::span<const std::byte> bytes) override {
    Mailbox& target = box(peer);
    const std::lock_guard lock(target.mutex);
    Bytes* const message = target.take_free();
    message->assign(bytes.begin(), bytes.end());
    target.queues[{rank_, channel}].push_back(message);
    return 0;
  }

  Mailbox& box(int rank) { return world_->mailboxes[static_cast<std::size_t>(rank)]; }

  std::shared_ptr<World> world_;
  int rank_;
};

}  // namespace

std::vector<std::unique_ptr<Transport>> make_thread_transports(int ranks, int ranks_per_host) {
  if (ranks < 1) {
    throw Error(ErrorCode::invalid_argument, fmt::format("{} thread ranks: at least 1", ranks));
  }
  if (ranks_per_host < 0) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{} thread ranks on a host: at least 0", ranks_per_host));
  }
  const auto world = std::make_shared<World>(ranks, std::max(1, ranks_per_host));
  std::vector<std::unique_ptr<Transport>> transports;
  for (int rank = 0; rank < ranks; ++rank) {
    transports.push_back(std::make_unique<ThreadTransport>(world, rank));
  }
  return transports;
}

}  // namespace cpdcomm::transport
