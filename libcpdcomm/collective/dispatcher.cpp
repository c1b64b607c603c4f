#include "collective/dispatcher.hpp"

namespace cpdcomm::collective {

Dispatcher::~Dispatcher() {
  {
    const std::lock_guard lock(mutex_);
    end_ = true;
  }
  wake_.notify_one();
  if (thread_.joinable()) thread_.join();
}

void Dispatcher::start(std::function<void()> call) {
  {
    const std::lock_guard lock(mutex_);
    if (!thread_.joinable()) thread_ = std::thread([this] { serve(); });
    calls_.push_back(std::move(call));
    ++unfinished_;
  }
  wake_.notify_one();
}

bool Dispatcher::idle() {
  const std::lock_guard lock(mutex_);
  return unfinished_ == 0;
}

void Dispatcher::serve() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return end_ || !calls_.empty(); });
    if (calls_.empty()) return;
    const std::function<void()> call = std::move(calls_.front());
    calls_.pop_front();
    lock.unlock();
    call();
    lock.lock();
    --unfinished_;
  }
}

}  // namespace cpdcomm::collective
