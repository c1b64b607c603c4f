#pragma once

#include <memory>
#include <span>
#include <vector>

#include "collective/buffer_pool.hpp"
#include "transport/transport.hpp"

namespace cpdcomm::collective {

/// Messages on their way out; their buffers live until the transport has let go of them.
class Outbox {
 public:
  explicit Outbox(transport::Transport& transport) : transport_(&transport) {}

  /// Sends the first `size` bytes of a buffer to one or more peers.
  template <typename Peers>
  void send(Buffer buffer, std::size_t size, int channel, const Peers& peers) {
    // In its place first: should a send fail, those before it still need the buffer.
    entries_.push_back({std::move(buffer), {}});
    Entry& entry = entries_.back();
    for (const int peer : peers) {
      entry.requests.push_back(transport_->send(peer, channel, {entry.buffer.data(), size}));
    }
  }

  /// Drops what is done; true when nothing is left.
  bool empty() {
    std::erase_if(entries_, [this](Entry& entry) {
      std::erase_if(entry.requests,
                    [this](transport::Request request) { return transport_->done(request); });
      return entry.requests.empty();
    });
    return entries_.empty();
  }

  /// Takes over what another outbox has not finished.
  void adopt(Outbox& other) {
    for (Entry& entry : other.entries_) entries_.push_back(std::move(entry));
    other.entries_.clear();
  }

  /// Never touches what is left again.
  void leak() {
    for (Entry& entry : entries_) entry.buffer.leak();
    entries_.clear();
  }

 private:
  struct Entry {
    Buffer buffer;
    std::vector<transport::Request> requests;
  };

  transport::Transport* transport_;
  std::vector<Entry> entries_;
};

}  // namespace cpdcomm::collective
