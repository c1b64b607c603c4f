#pragma once

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <thread>

namespace cpdcomm::testing {

/// Does work in a fork of this process, which then ends by exit(), with what the work returns.
/// @return its exit status; -1: it crashed, or had to be killed because it did not end in a minute
inline int in_a_fork(const std::function<int()>& work) {
  const pid_t child = fork();
  if (child == 0) std::exit(work());
  int status = 0;
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (waitpid(child, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > deadline) kill(child, SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace cpdcomm::testing
