#pragma once

#include <utility>

#include "collective/message.hpp"
#include "transport/transport.hpp"

namespace cpdcomm::collective {

/// A message that was taken from a transport; given back when it is let go.
class Held {
 public:
  Held() = default;
  Held(transport::Transport& transport, const transport::Arrival& arrival)
      : transport_(&transport), arrival_(arrival) {}
  Held(Held&& other) noexcept
      : transport_(std::exchange(other.transport_, nullptr)), arrival_(other.arrival_) {}
  Held& operator=(Held&& other) noexcept {
    std::swap(transport_, other.transport_);
    std::swap(arrival_, other.arrival_);
    return *this;
  }
  ~Held() {
    if (transport_ != nullptr) transport_->release(arrival_);
  }

  const std::byte* data() const { return arrival_.data; }
  const std::byte* body() const { return arrival_.data + sizeof(MessageHeader); }
  std::size_t size() const { return arrival_.size; }

 private:
  transport::Transport* transport_ = nullptr;
  transport::Arrival arrival_;
};

}  // namespace cpdcomm::collective
