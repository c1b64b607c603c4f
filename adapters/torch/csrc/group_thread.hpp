#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace cpdcomm::torch_adapter {

/// Runs a group's operations on a thread of its own, in the order in which they were asked for. A
/// fork of the process has no such thread: there it is neither used nor destroyed.
class GroupThread {
 public:
  using Job = std::function<void()>;

  GroupThread() : thread_([this] { serve(); }) {}
  /// After finish().
  ~GroupThread() { finish(); }
  GroupThread(const GroupThread&) = delete;

  /// Takes a job, which must not throw; false when there is an end to all jobs.
  bool add(Job job);
  /// Whether no more jobs are taken.
  bool finishing() const;
  /// Does what was asked for, and no more. From any thread but its own.
  void finish();
  bool is_this_thread() const { return thread_.get_id() == std::this_thread::get_id(); }

 private:
  void serve();

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> queue_;
  bool finishing_ = false;
  std::once_flag joined_;
  std::thread thread_;
};

}  // namespace cpdcomm::torch_adapter
