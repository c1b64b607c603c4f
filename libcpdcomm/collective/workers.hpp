#pragma once

#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace cpdcomm::collective {

/// Something to be done by a worker, and later found done.
class Job {
 public:
  virtual ~Job() = default;

  /// On this thread.
  void do_now() {
    begin();
    run();
  }
  bool done() const { return done_.load(std::memory_order_acquire); }
  /// After done().
  /// @throws what the work has thrown
  void check() const {
    if (error_) std::rethrow_exception(error_);
  }

 protected:
  virtual void work() = 0;

 private:
  friend class Workers;
  void begin();
  void run() noexcept;

  std::atomic<bool> done_{true};
  std::exception_ptr error_;
};

/// Threads that encode and decode beside the one that runs the engine.
class Workers {
 public:
  /// @param threads  fewer where the machine has no more
  explicit Workers(int threads);
  ~Workers();
  Workers(const Workers&) = delete;

  /// Hands a job to a thread; if none is free, it is done at once, here.
  void submit(Job& job);

 private:
  void serve();
  Job* next();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<Job*> waiting_;
  std::size_t idle_ = 0;  // threads that no waiting job is meant for
  bool end_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace cpdcomm::collective
