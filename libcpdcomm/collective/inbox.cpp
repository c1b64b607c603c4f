#include "collective/inbox.hpp"

namespace cpdcomm::collective {

const std::byte* Inbox::peek(std::uint64_t sequence) {
  while (!next_ || sequence_of(next_->data()) < sequence) {
    next_.reset();
    transport::Arrival arrival;
    if (!transport_->take(peer_, channel_, arrival)) return nullptr;
    next_.emplace(*transport_, arrival);
  }
  return next_->data();
}

Held Inbox::take() {
  Held held = std::move(*next_);
  next_.reset();
  return held;
}

}  // namespace cpdcomm::collective
