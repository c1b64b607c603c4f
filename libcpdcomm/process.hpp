#pragma once

#include <unistd.h>

#include <atomic>
#include <mutex>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "cpdcomm/error.hpp"

namespace cpdcomm {

/// The process in which something was made. A fork has a copy of it, without the threads that it
/// goes by, and with connections and memory that are still its parent's: the copy is not used, and
/// not torn down either.
class Maker {
 public:
  bool is_this_process() const { return getpid() == pid_; }

  /// @param what  "this communicator"
  /// @throws Error unsupported in a fork of the process
  void require_this_process(const char* what) const {
    if (is_this_process()) return;
    throw Error(ErrorCode::unsupported, std::string(what) + " belongs to process " +
                                            std::to_string(pid_) + ", of which process " +
                                            std::to_string(getpid()) +
                                            " is a fork: a child makes one of its own");
  }

 private:
  pid_t pid_ = getpid();
};

/// What a fork has of its parent's: it is kept as it is until the process ends.
template <typename T>
void leave_to_parent(T&& thing) {
  static auto* const mutex = new std::mutex;
  static auto* const left = new std::vector<std::decay_t<T>>;
  const std::lock_guard lock(*mutex);
  left->push_back(std::forward<T>(thing));
}

/// Something of the whole process: a fork begins with a new one, whatever its parent's threads were
/// doing to theirs, locks included.
template <typename T>
class PerProcess {
 public:
  T& get() {
    Slot* slot = slot_.load(std::memory_order_acquire);
    while (slot == nullptr || !slot->maker.is_this_process()) {
      auto* const made = new Slot;  // outlives all that may still use it at the end
      if (slot_.compare_exchange_strong(slot, made, std::memory_order_acq_rel)) return made->thing;
      delete made;
    }
    return slot->thing;
  }

 private:
  struct Slot {
    Maker maker;
    T thing;
  };
  std::atomic<Slot*> slot_{nullptr};
};

}  // namespace cpdcomm
