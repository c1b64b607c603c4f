#pragma once

#include <deque>
#include <optional>

#include "collective/buffer_pool.hpp"
#include "transport/transport.hpp"

namespace cpdcomm::collective {

/// The messages of one peer on one channel, in the order in which it sent them.
///
/// Receives are posted ahead and stay posted between calls. What a failed call has left behind is
/// recognised by its sequence number and dropped.
class Inbox {
 public:
  Inbox(transport::Transport& transport, BufferPool& pool, int peer, int channel);
  Inbox(const Inbox&) = delete;
  ~Inbox() { close(); }

  /// The next message of call `sequence` or a later one, if it has arrived. It stays the next until
  /// it is taken.
  const std::byte* peek(std::uint64_t sequence);
  /// Takes the message that peek() has found.
  Buffer take();

  /// Gives up what is posted. False when the transport could not: its memory is then leaked.
  bool close();

 private:
  static constexpr std::size_t kAhead = 2;

  struct Posted {
    Buffer buffer;
    transport::Request request;
  };

  bool give_up(transport::Request request);
  void post() {
    Buffer buffer = pool_.take();
    const auto request = transport_.receive(peer_, channel_, {buffer.data(), kMessageBytes});
    posted_.push_back({std::move(buffer), request});
  }

  transport::Transport& transport_;
  BufferPool& pool_;
  int peer_;
  int channel_;
  std::deque<Posted> posted_;
  std::optional<Buffer> next_;  // has arrived
};

}  // namespace cpdcomm::collective
