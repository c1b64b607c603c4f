#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "collective/message.hpp"

namespace cpdcomm::collective {

class BufferPool;

/// Memory for one message; goes back to its pool when it is let go.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept = default;
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer() { give_back(); }

  std::byte* data() const { return memory_.get(); }
  std::byte* body() const { return memory_.get() + sizeof(MessageHeader); }
  /// Never to be used again, because a network may still write to it.
  void leak() { static_cast<void>(memory_.release()); }

 private:
  friend class BufferPool;
  Buffer(BufferPool* pool, std::unique_ptr<std::byte[]> memory)
      : pool_(pool), memory_(std::move(memory)) {}
  void give_back();

  BufferPool* pool_ = nullptr;
  std::unique_ptr<std::byte[]> memory_;
};

/// Message buffers, allocated when first needed and kept: steady state allocates nothing.
class BufferPool {
 public:
  Buffer take() {
    if (free_.empty()) return {this, std::make_unique_for_overwrite<std::byte[]>(kMessageBytes)};
    std::unique_ptr<std::byte[]> memory = std::move(free_.back());
    free_.pop_back();
    return {this, std::move(memory)};
  }

 private:
  friend class Buffer;
  std::vector<std::unique_ptr<std::byte[]>> free_;
};

inline void Buffer::give_back() {
  if (memory_) pool_->free_.push_back(std::move(memory_));
}

inline Buffer& Buffer::operator=(Buffer&& other) noexcept {
  give_back();
  pool_ = other.pool_;
  memory_ = std::move(other.memory_);
  return *this;
}

}  // namespace cpdcomm::collective
