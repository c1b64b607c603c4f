#include "transport/threads.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <utility>

#include "cpdcomm/error.hpp"

namespace cpdcomm::transport {
namespace {

struct Parcel {
  std::vector<std::byte> bytes;
  Parcel* next = nullptr;
};

/// Parcels in a row, first in, first out: linked, so that a row asks for no memory.
class Row {
 public:
  void push(Parcel* parcel) {
    parcel->next = nullptr;
    (first_ == nullptr ? first_ : last_->next) = parcel;
    last_ = parcel;
  }
  /// Null when there is none.
  Parcel* pop() {
    Parcel* const parcel = first_;
    if (parcel != nullptr) first_ = parcel->next;
    return parcel;
  }

 private:
  Parcel* first_ = nullptr;
  Parcel* last_ = nullptr;
};

/// What one rank's peers have sent, and the memory of messages that it has taken and released.
struct Mailbox {
  std::mutex mutex;
  std::map<std::pair<int, int>, Row> rows;  // by sender and channel
  std::vector<std::unique_ptr<Parcel>> parcels;
  Row free;
  std::atomic<bool> left{false};  // its owner has ended

  Parcel* take_free() {
    Parcel* const parcel = free.pop();
    return parcel != nullptr ? parcel : parcels.emplace_back(std::make_unique<Parcel>()).get();
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

  ~ThreadTransport() override { box(rank_).left.store(true, std::memory_order_release); }

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
    const auto found = own.rows.find({peer, channel});
    Parcel* const parcel = found == own.rows.end() ? nullptr : found->second.pop();
    if (parcel == nullptr) return false;
    arrival = {parcel->bytes.data(), parcel->bytes.size(),
               reinterpret_cast<std::uintptr_t>(parcel)};
    return true;
  }

  void release(const Arrival& arrival) override {
    Mailbox& own = box(rank_);
    const std::lock_guard lock(own.mutex);
    own.free.push(reinterpret_cast<Parcel*>(arrival.token));
  }

  void progress() override {}

  std::optional<std::string> end_of(int peer) override {
    // Acquired: what it sent before is in our mailbox.
    if (!box(peer).left.load(std::memory_order_acquire)) return std::nullopt;
    return has_left(peer);
  }

  bool sends_wait_for_peers() const override { return false; }
  void keep_address() override {}
  void abandon() override {}

 private:
  Request start_send(int peer, int channel, std::span<const std::byte> bytes) override {
    Mailbox& target = box(peer);
    const std::lock_guard lock(target.mutex);
    Parcel* const parcel = target.take_free();
    parcel->bytes.assign(bytes.begin(), bytes.end());
    target.rows[{rank_, channel}].push(parcel);
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
