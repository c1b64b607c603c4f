#pragma once

#include <cstdint>
#include <optional>

#include "collective/held.hpp"
#include "transport/transport.hpp"

namespace cpdcomm::collective {

/// The messages of one peer on one channel, in the order in which it sent them. What a failed call
/// has left behind is recognised by its sequence number and dropped.
class Inbox {
 public:
  Inbox(transport::Transport& transport, int peer, int channel)
      : transport_(&transport), peer_(peer), channel_(channel) {}

  /// The next message of call `sequence` or a later one, if it has arrived. It stays the next until
  /// it is taken.
  const std::byte* peek(std::uint64_t sequence);
  /// Takes the message that peek() has found.
  Held take();
  std::size_t size() const { return next_->size(); }

 private:
  transport::Transport* transport_;
  int peer_;
  int channel_;
  std::optional<Held> next_;  // has arrived
};

}  // namespace cpdcomm::collective
