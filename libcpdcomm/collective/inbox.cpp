#include "collective/inbox.hpp"

#include <cstring>

#include "cpdcomm/error.hpp"

namespace cpdcomm::collective {
namespace {

std::uint64_t sequence_of(const Buffer& buffer) {
  MessageHeader header;
  std::memcpy(&header, buffer.data(), sizeof header);
  return header.sequence;
}

}  // namespace

Inbox::Inbox(transport::Transport& transport, BufferPool& pool, int peer, int channel)
    : transport_(transport), pool_(pool), peer_(peer), channel_(channel) {
  try {
    while (posted_.size() < kAhead) post();
  } catch (...) {
    close();  // or the pool would give away what the network may still write to
    throw;
  }
}

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
    if (give_up(posted.request)) continue;
    posted.buffer.leak();
    closed = false;
  }
  posted_.clear();
  return closed;
}

/// Whether the network will not write to a request's memory any more.
bool Inbox::give_up(transport::Request request) {
  try {
    return transport_.done(request) || transport_.cancel(request);
  } catch (const Error&) {
    return false;  // the network is gone, and nobody waits for this
  }
}

}  // namespace cpdcomm::collective
