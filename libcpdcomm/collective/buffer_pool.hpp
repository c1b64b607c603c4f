#pragma once

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "collective/message.hpp"
#include "transport/transport.hpp"

namespace cpdcomm::collective {

class BufferPool;

/// Memory for one message; goes back to its pool when it is let go.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Buffer&& other) noexcept
      : pool_(other.pool_), memory_(std::exchange(other.memory_, nullptr)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(pool_, other.pool_);
    std::swap(memory_, other.memory_);
    return *this;
  }
  ~Buffer();

  std::byte* data() const { return memory_; }
  std::byte* body() const { return memory_ + sizeof(MessageHeader); }

 private:
  friend class BufferPool;
  Buffer(BufferPool* pool, std::byte* memory) : pool_(pool), memory_(memory) {}

  BufferPool* pool_ = nullptr;
  std::byte* memory_ = nullptr;
};

/// Message buffers, allocated when first needed and kept: steady state allocates nothing. In memory
/// of the network as long as it has some.
class BufferPool {
 public:
  explicit BufferPool(transport::Transport& transport) : transport_(transport) {}

  Buffer take() {
    if (free_.empty()) return {this, allocate()};
    std::byte* const memory = free_.back();
    free_.pop_back();
    return {this, memory};
  }
  /// Nothing is ever freed, because a network may still write to it or read it. It stays known, so
  /// that who looks for lost memory does not find it.
  void leak() {
    static std::mutex mutex;
    static auto& kept = *new std::vector<std::unique_ptr<std::byte[]>>;
    const std::lock_guard lock(mutex);
    std::ranges::move(owned_, std::back_inserter(kept));
    owned_.clear();
  }

 private:
  friend class Buffer;

  std::byte* allocate() {
    std::byte* const memory = transport_.allocate(transport::kLongestMessage);
    if (memory != nullptr) return memory;
    owned_.push_back(std::make_unique_for_overwrite<std::byte[]>(transport::kLongestMessage));
    return owned_.back().get();
  }

  transport::Transport& transport_;
  std::vector<std::byte*> free_;
  std::vector<std::unique_ptr<std::byte[]>> owned_;
};

inline Buffer::~Buffer() {
  if (memory_ != nullptr) pool_->free_.push_back(memory_);
}

}  // namespace cpdcomm::collective
