#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <thread>
#include <type_traits>

namespace cpdcomm::collective {

/// Runs calls that were started on a thread of its own, one after the other in the order in which
/// they were made. There is no thread until the first is.
class Dispatcher {
 public:
  Dispatcher() = default;
  /// Waits for all calls.
  ~Dispatcher();
  Dispatcher(const Dispatcher&) = delete;

  /// Takes a call; it must not throw.
  void start(std::function<void()> call);

  /// Makes a call after all that were started; where none is left, on the caller's own thread.
  template <typename Call>
  auto in_turn(Call&& call) -> std::invoke_result_t<Call> {
    if (idle()) return call();
    std::packaged_task<std::invoke_result_t<Call>()> task(std::forward<Call>(call));
    auto result = task.get_future();
    start([&task] { task(); });
    return result.get();
  }

 private:
  bool idle();
  void serve();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> calls_;
  std::size_t unfinished_ = 0;
  bool end_ = false;
  std::thread thread_;
};

}  // namespace cpdcomm::collective
