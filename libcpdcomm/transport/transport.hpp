#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cpdcomm/communicator.hpp"

namespace cpdcomm::transport {

/// The longest message. Below the 64 KiB up to which Open MPI sends over TCP without asking first.
inline constexpr std::size_t kLongestMessage = 60 * 1024;

/// The name of the transport whose ranks are threads of one process.
inline constexpr std::string_view kThreads = "threads";

/// A send that was started and is later found done.
using Request = std::uint32_t;

/// A message that has arrived. Its bytes may lie in memory of the network or of the sender: they
/// are only read, and stay until the arrival is released.
struct Arrival {
  const std::byte* data = nullptr;
  std::size_t size = 0;
  std::uint64_t token = 0;  ///< the transport's own
};

/// Moves bytes between ranks and knows nothing of what they mean.
///
/// Messages from one rank to another on one channel arrive in the order in which they were sent.
/// One thread at a time may use a transport. Functions throw Error peer_failed when the network
/// itself fails. That a peer has ended is no failure as long as nobody waits for it: end_of() says
/// it, and what is sent there goes nowhere.
class Transport {
 public:
  virtual ~Transport() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;
  /// What tables of times know it by.
  virtual std::string_view name() const { return "network"; }
  /// The host that a rank is on, numbered from 0 in the order of the hosts' first ranks. A network
  /// that cannot tell says that each rank has one of its own.
  virtual int host_of(int rank) const { return rank; }

  /// Whether calls may come from another thread than that which made it, one at a time.
  virtual bool allows_threads() const { return true; }

  /// Ranks that share this machine's cores.
  virtual int ranks_on_machine() const {
    int count = 0;
    for (int other = 0; other < size(); ++other) count += host_of(other) == host_of(rank()) ? 1 : 0;
    return count;
  }

  /// Memory for messages, which the network may send without a copy; none when it has no more, and
  /// any other memory will do.
  virtual std::byte* allocate(std::size_t /*bytes*/) { return nullptr; }

  /// Starts sending; `bytes` stay as they are until the request is done.
  Request send(int peer, int channel, std::span<const std::byte> bytes) {
    const Request request = start_send(peer, channel, bytes);
    bytes_sent_ += bytes.size();
    return request;
  }
  /// Whether a send is done. A request found done is over.
  virtual bool done(Request request) = 0;

  /// Whether what a send sends is its peer's to read even when this rank has ended.
  virtual bool outlives_rank(Request /*request*/) const { return false; }

  /// Says that messages of `peer` on `channel` will be taken: they then need not wait for a place.
  /// May be said again.
  virtual void expect(int peer, int channel) = 0;
  /// The next message of `peer` on `channel`, if it has arrived; its release is then up to the
  /// caller, in any order. Releases may come before or after sends of the same bytes are done, but
  /// a message that is sent on is released when that is done.
  virtual bool take(int peer, int channel, Arrival& arrival) = 0;
  virtual void release(const Arrival& arrival) = 0;

  /// Lets the network work. `done` and `take` see what it has brought, and bring nothing
  /// themselves.
  virtual void progress() = 0;

  /// Why nothing more comes from a peer, in words, once it has ended and this is known. What it
  /// sent before has then arrived, and can be taken. Not every network learns of every end.
  virtual std::optional<std::string> end_of(int /*peer*/) { return std::nullopt; }

  /// The network's own all-reduce of `count` elements, where it has one for this type and operator:
  /// it knows no deadline, and finds no mistake.
  /// @return whether it was done; if not, nothing was
  virtual bool allreduce(const void* /*in*/, void* /*out*/, std::size_t /*count*/,
                         DataType /*type*/, ReduceOp /*op*/) {
    return false;
  }
  /// Whether allreduce() can do it: the same on every rank.
  virtual bool has_allreduce(DataType /*type*/, ReduceOp /*op*/) const { return false; }

  /// Whether a send may stay undone until the peer receives it.
  virtual bool sends_wait_for_peers() const = 0;
  /// Called when messages may stay under way after the end: no later transport may look to them as
  /// if it were this one.
  virtual void keep_address() = 0;
  /// Called once when peers may be gone: the transport must not wait for them when it ends.
  virtual void abandon() = 0;

  /// All bytes that this rank has sent, counted here because nothing passes this by.
  std::uint64_t bytes_sent() const { return bytes_sent_; }

 protected:
  virtual Request start_send(int peer, int channel, std::span<const std::byte> bytes) = 0;

 private:
  std::uint64_t bytes_sent_ = 0;
};

/// The end of a peer whose communicator was destroyed.
inline std::string has_left(int rank) {
  return "rank " + std::to_string(rank) + " has left: its communicator is gone";
}

}  // namespace cpdcomm::transport
