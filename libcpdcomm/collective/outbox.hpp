#pragma once

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "collective/buffer_pool.hpp"
#include "collective/held.hpp"
#include "transport/transport.hpp"

namespace cpdcomm::collective {

/// A message on its way out: one of this rank's own, or a received one that is sent on.
struct Outgoing {
  Buffer own = {};
  Held received = {};

  const std::byte* data() const { return own.data() != nullptr ? own.data() : received.data(); }
};

/// Messages on their way out; their memory lives until the transport has let go of them.
class Outbox {
 public:
  explicit Outbox(transport::Transport& transport) : transport_(&transport) {}

  /// Sends the first `size` bytes of a message to one or more peers.
  void send(Outgoing message, std::size_t size, int channel, std::span<const int> peers) {
    // In its place first: should a send fail, those before it still need the memory.
    Entry& entry = entries_.emplace_back(std::move(message), take_spare());
    const std::byte* const bytes = entry.message.data();
    for (const int peer : peers) {
      entry.requests.push_back(transport_->send(peer, channel, {bytes, size}));
    }
  }

  /// Drops what is done; true when nothing is left.
  bool empty() {
    std::erase_if(entries_, [this](Entry& entry) {
      // Each that is done is forgotten at once: done() may throw at the next.
      for (std::size_t i = entry.requests.size(); i-- > 0;) {
        if (!transport_->done(entry.requests[i])) continue;
        entry.requests[i] = entry.requests.back();
        entry.requests.pop_back();
      }
      if (!entry.requests.empty()) return false;
      spares_.push_back(std::move(entry.requests));
      return true;
    });
    return entries_.empty();
  }

  /// Whether all that is left reaches its peers without this rank.
  bool outlives_rank() const {
    return std::ranges::all_of(entries_, [this](const Entry& entry) {
      return std::ranges::all_of(entry.requests, [this](transport::Request request) {
        return transport_->outlives_rank(request);
      });
    });
  }

  /// Takes over what another outbox has not finished.
  void adopt(Outbox& other) {
    for (Entry& entry : other.entries_) entries_.push_back(std::move(entry));
    other.entries_.clear();
  }

 private:
  using Requests = std::vector<transport::Request>;
  struct Entry {
    Entry(Outgoing outgoing, Requests room)
        : message(std::move(outgoing)), requests(std::move(room)) {}

    Outgoing message;
    Requests requests;
  };

  /// A vector that has been used, so that it need not grow again.
  Requests take_spare() {
    if (spares_.empty()) return {};
    Requests requests = std::move(spares_.back());
    spares_.pop_back();
    return requests;
  }

  transport::Transport* transport_;
  std::vector<Entry> entries_;
  std::vector<Requests> spares_;
};

}  // namespace cpdcomm::collective
