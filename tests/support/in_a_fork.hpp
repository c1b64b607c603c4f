#pragma once

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <thread>

namespace cpdcomm::testing {

inline bool is_a_fork = false;

#if defined(__SANITIZE_THREAD__)
inline constexpr bool kForksCanBeWatched = false;  // it ends a fork of a process with threads
#else
inline constexpr bool kForksCanBeWatched = true;
#endif

}  // namespace cpdcomm::testing

#if defined(__SANITIZE_ADDRESS__)
/// The leak sanitizer asks at the end. What threads of the parent held looks lost in a fork.
extern "C" __attribute__((visibility("default"), used)) inline int __lsan_is_turned_off() {
  return cpdcomm::testing::is_a_fork ? 1 : 0;
}
#endif

namespace cpdcomm::testing {

/// Does work in a fork of this process, which then ends by exit(), with what the work returns.
/// @return its exit status; -1: it crashed, or had to be killed because it did not end in a minute
inline int in_a_fork(const std::function<int()>& work) {
  const pid_t child = fork();
  if (child == 0) {
    is_a_fork = true;
    std::exit(work());
  }
  int status = 0;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (waitpid(child, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > deadline) kill(child, SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace cpdcomm::testing
