#pragma once

#include <cstddef>
#include <mutex>
#include <span>
#include <utility>
#include <vector>

#include "transport/transport.hpp"

namespace cpdcomm::collective {

/// Messages between two ranks that the transport has not let go of, with their memory.
class UnderWay {
 public:
  explicit UnderWay(transport::Transport& transport) : transport_(&transport) {}

  void send(int peer, int channel, std::vector<std::byte> bytes) {
    // In its place first: should the send fail, those before it still need their memory.
    Entry& entry = entries_.emplace_back();
    entry.bytes = std::move(bytes);
    entry.request = transport_->send(peer, channel, entry.bytes);
    entry.sent = true;
  }

  /// Drops what is done; true when nothing is left.
  bool empty() {
    std::erase_if(entries_, [this](Entry& entry) {
      if (entry.sent && !transport_->done(entry.request)) return false;
      entry.sent = false;  // forgotten at once: done() may throw at the next
      return true;
    });
    return entries_.empty();
  }

  /// Takes over what another has not finished.
  void adopt(UnderWay& other) {
    for (Entry& entry : other.entries_) entries_.push_back(std::move(entry));
    other.entries_.clear();
  }

  /// Nothing is ever freed, because a network may still read it. It stays known, so that who looks
  /// for lost memory does not find it.
  void leak() {
    static std::mutex mutex;
    static auto& kept = *new std::vector<std::vector<std::byte>>;
    const std::lock_guard lock(mutex);
    for (Entry& entry : entries_) kept.push_back(std::move(entry.bytes));
    entries_.clear();
  }

 private:
  /// Moved from, it is no longer sent: one request is done once, whatever throws meanwhile.
  struct Entry {
    Entry() = default;
    Entry(Entry&& other) noexcept { *this = std::move(other); }
    Entry& operator=(Entry&& other) noexcept {
      bytes = std::move(other.bytes);
      request = other.request;
      sent = std::exchange(other.sent, false);
      return *this;
    }

    std::vector<std::byte> bytes;
    transport::Request request = 0;
    bool sent = false;
  };

  transport::Transport* transport_;
  std::vector<Entry> entries_;
};

}  // namespace cpdcomm::collective
