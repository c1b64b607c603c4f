#include "collective/workers.hpp"

#include <system_error>

#include "codec/float_environment.hpp"

namespace cpdcomm::collective {

void Job::begin() {
  error_ = nullptr;
  done_.store(false, std::memory_order_relaxed);
}

void Job::run() noexcept {
  try {
    work();
  } catch (...) {
    error_ = std::current_exception();
  }
  done_.store(true, std::memory_order_release);
}

Workers::Workers(int threads) {
  const auto count = static_cast<std::size_t>(threads);
  waiting_.reserve(count);
  try {
    for (std::size_t i = 0; i < count; ++i) threads_.emplace_back([this] { serve(); });
  } catch (const std::system_error&) {
    // There are no more to be had: those that have begun do what they can.
  }
}

Workers::~Workers() {
  {
    const std::lock_guard lock(mutex_);
    end_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Workers::submit(Job& job) {
  job.begin();
  if (!threads_.empty()) {
    std::unique_lock lock(mutex_);
    if (waiting_.size() < idle_) {
      waiting_.push_back(&job);
      lock.unlock();
      wake_.notify_one();
      return;
    }
  }
  job.run();
}

Job* Workers::next() {
  std::unique_lock lock(mutex_);
  ++idle_;
  wake_.wait(lock, [this] { return end_ || !waiting_.empty(); });
  --idle_;
  if (waiting_.empty()) return nullptr;
  Job* const job = waiting_.back();
  waiting_.pop_back();
  return job;
}

void Workers::serve() {
  const codec::FloatEnvironment environment;
  while (Job* const job = next()) job->run();
}

}  // namespace cpdcomm::collective
