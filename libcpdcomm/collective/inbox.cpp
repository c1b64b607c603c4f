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

const std::byte* Inbox::peek(std::uint64_t sequence) {
  while (!next_ || sequence_of(*next_) < sequence) {
    next_.reset();
    if (!transport_.done(posted_.front().request)) return nullptr;
    next_ = std::move(posted_.front().buffer);
    posted_.pop_front();
    post();
  }
  return next_->data();
}

Buffer Inbox::take() {
  Buffer buffer = std::move(*next_);
  next_.reset();
  return buffer;
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
