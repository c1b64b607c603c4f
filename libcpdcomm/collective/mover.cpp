#include "collective/mover.hpp"

#include "collective/backoff.hpp"

namespace cpdcomm::collective {

Mover::~Mover() {
  {
    const std::lock_guard lock(mutex_);
    end_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Mover::wake() {
  {
    const std::lock_guard lock(mutex_);
    if (!thread_.joinable()) thread_ = std::thread([this] { serve(); });
  }
  wake_.notify_all();
}

/// False at the end.
bool Mover::wait_for_work() {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [this] { return end_ || session_.has_work_left(); });
  return !end_;
}

void Mover::serve() {
  while (wait_for_work()) {
    Backoff backoff;
    while (session_.has_work_left()) {
      {
        const std::lock_guard lock(mutex_);
        if (end_) return;
      }
      if (session_.carry_on()) {
        backoff.reset();
      } else {
        backoff.idle();
      }
    }
  }
}

}  // namespace cpdcomm::collective
