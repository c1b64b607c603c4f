#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <functional>
#include <vector>

#include "support/local_bootstrap.hpp"

namespace cpdcomm::testing {

/// Ranks that are processes: forks `ranks` children; each ends with the status that work returns.
inline std::vector<pid_t> fork_ranks(MeetingPlace& place,
                                     const std::function<int(LocalBootstrap&)>& work) {
  std::vector<pid_t> children;
  for (int rank = 0; rank < place.ranks(); ++rank) {
    const pid_t child = fork();
    if (child == 0) {
      LocalBootstrap bootstrap(place, rank);
      int status = 100;
      try {
        status = work(bootstrap);
      } catch (const std::exception& error) {
        std::fprintf(stderr, "rank %d: %s\n", rank, error.what());
      }
      _exit(status);
    }
    children.push_back(child);
  }
  return children;
}

/// @return its status as of waitpid
inline int wait_for(pid_t child) {
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

}  // namespace cpdcomm::testing
