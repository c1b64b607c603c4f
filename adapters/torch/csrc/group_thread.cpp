#include "group_thread.hpp"

#include <utility>

namespace cpdcomm::torch_adapter {

bool GroupThread::add(Job job) {
  {
    const std::lock_guard lock(mutex_);
    if (finishing_) return false;
    queue_.push_back(std::move(job));
  }
  wake_.notify_all();
  return true;
}

bool GroupThread::finishing() const {
  const std::lock_guard lock(mutex_);
  return finishing_;
}

void GroupThread::finish() {
  std::call_once(joined_, [this] {
    {
      const std::lock_guard lock(mutex_);
      finishing_ = true;
    }
    wake_.notify_all();
    thread_.join();
  });
}

void GroupThread::serve() {
  while (true) {
    Job job;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return finishing_ || !queue_.empty(); });
      if (queue_.empty()) return;
      job = std::move(queue_.front());
      queue_.pop_front();
    }
    job();
  }
}

}  // namespace cpdcomm::torch_adapter
