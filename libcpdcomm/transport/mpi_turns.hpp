#pragma once

#include <fmt/format.h>
#include <mpi.h>

#include <functional>
#include <mutex>
#include <thread>

#include "cpdcomm/error.hpp"

namespace cpdcomm::transport {

/// @throws Error peer_failed with MPI's own words
inline void check(int code, const char* what) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw Error(ErrorCode::peer_failed, fmt::format("{}: {}", what, text));
}

/// What MPI allows threads, once it is up.
inline int thread_level() {
  static const int known = [] {
    int level = MPI_THREAD_SINGLE;
    MPI_Query_thread(&level);
    return level;
  }();
  return known;
}

/// Whether MPI allows one thread at a time.
inline bool takes_turns() { return thread_level() < MPI_THREAD_MULTIPLE; }

/// Where MPI allows one thread at a time, all our threads take turns.
inline std::unique_lock<std::mutex> turn() {
  static std::mutex mutex;
  return takes_turns() ? std::unique_lock(mutex) : std::unique_lock<std::mutex>();
}

/// Starts what MPI ends later, and waits for it in turns, because a peer may need another of our
/// threads to come this far.
inline void wait_in_turns(const char* what, const std::function<int(MPI_Request*)>& start) {
  MPI_Request request = MPI_REQUEST_NULL;
  {
    const auto lock = turn();
    check(start(&request), what);
  }
  int flag = 0;
  while (flag == 0) {
    std::this_thread::yield();
    const auto lock = turn();
    check(MPI_Test(&request, &flag, MPI_STATUS_IGNORE), what);
  }
}

}  // namespace cpdcomm::transport
