#include "collective/inbox.hpp"

#include <cstring>

namespace cpdcomm::collective {
namespace {

std::uint64_t sequence_of(const Buffer& buffer) {
  MessageHeader header;
  std::memcpy(&header, buffer.data(), sizeof header);
  return header.sequence;
}

}  // namespace

std::optional<Buffer> Inbox::next(std::uint64_t sequence) {
  while (transport_.done(posted_.front().request)) {
    Buffer buffer = std::move(posted_.front().buffer);
    posted_.pop_front();
    post();
    if (sequence_of(buffer) >= sequence) return buffer;
  }
  return std::nullopt;
}

bool Inbox::close() {
  bool closed = true;
  for (Posted& posted : posted_) {
    if (transport_.done(posted.request) || transport_.cancel(posted.request)) continue;
    posted.buffer.leak();
    closed = false;
  }
  posted_.clear();
  return closed;
}

}  // namespace cpdcomm::collective
