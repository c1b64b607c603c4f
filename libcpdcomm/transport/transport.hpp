#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace cpdcomm::transport {

/// Something that was started and is later found done.
using Request = std::uint32_t;

/// Moves bytes between ranks and knows nothing of what they mean.
///
/// Messages from one rank to another on one channel arrive in the order in which they were sent.
/// One thread at a time may use a transport. Functions throw Error peer_failed when the network
/// reports a failure.
class Transport {
 public:
  virtual ~Transport() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// Starts sending; `bytes` stay as they are until the request is done.
  Request send(int peer, int channel, std::span<const std::byte> bytes) {
    const Request request = start_send(peer, channel, bytes);
    bytes_sent_ += bytes.size();
    return request;
  }
  /// Starts receiving the next message of `peer` on `channel`, at most `room.size()` bytes.
  virtual Request receive(int peer, int channel, std::span<std::byte> room) = 0;
  /// Whether a request is done, after making progress on all. A request found done is over.
  virtual bool done(Request request) = 0;
  /// Gives up a request that is not done; its memory is free afterwards. False when it cannot be
  /// given up: then the memory must stay.
  virtual bool cancel(Request request) = 0;
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

}  // namespace cpdcomm::transport
