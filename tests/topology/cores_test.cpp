#include "topology/cores.hpp"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <string>

#include "topology/machine.hpp"

namespace cpdcomm::testing {
namespace {

using topology::Cores;
using topology::spare_cores;

TEST(SpareCores, AreARanksShareWithoutItsOwn) {
  struct Case {
    Cores cores;
    int ranks;
    int spare;
  };
  const Case cases[] = {
      {{.machine = 32, .bound = 32, .inherited = true}, 1, 31},
      {{.machine = 32, .bound = 32, .inherited = true}, 8, 3},   // nobody is bound
      {{.machine = 32, .bound = 1, .inherited = false}, 8, 0},   // to a core each
      {{.machine = 32, .bound = 4, .inherited = false}, 8, 3},   // to four each
      {{.machine = 32, .bound = 4, .inherited = false}, 2, 3},   // and many are nobody's
      {{.machine = 32, .bound = 16, .inherited = false}, 8, 3},  // to a package
      {{.machine = 64, .bound = 4, .inherited = true}, 4, 0},    // all to the same four
      {{.machine = 4, .bound = 4, .inherited = true}, 3, 0},
      {{.machine = 4, .bound = 4, .inherited = true}, 9, 0},  // more ranks than cores
  };
  for (const Case& c : cases) {
    EXPECT_EQ(spare_cores(c.cores, c.ranks), c.spare)
        << c.cores.bound << " of " << c.cores.machine << " for " << c.ranks;
  }
}

/// As a launcher binds: a sanitizer may have started a thread of its own.
void bind_all_threads(const cpu_set_t& processors) {
  for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task")) {
    sched_setaffinity(std::stoi(thread.path().filename()), sizeof processors, &processors);
  }
}

/// Runs work in a child that may run on the first `processors` of this process only.
int on_processors(int processors, const std::function<int()>& work) {
  const pid_t child = fork();
  if (child == 0) {
    cpu_set_t now;
    cpu_set_t wanted;
    CPU_ZERO(&wanted);
    sched_getaffinity(0, sizeof now, &now);
    for (int i = 0; i < CPU_SETSIZE && processors > 0; ++i) {
      if (!CPU_ISSET(i, &now)) continue;
      CPU_SET(i, &wanted);
      --processors;
    }
    bind_all_threads(wanted);
    _exit(work());
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WEXITSTATUS(status);
}

TEST(Machine, SeesHowTheProcessIsBound) {
  const Cores all = topology::find_cores();
  EXPECT_GE(all.machine, all.bound);
  EXPECT_GE(all.bound, 1);
  EXPECT_EQ(on_processors(1, [] { return topology::find_cores().bound; }), 1);
  EXPECT_EQ(on_processors(1, [] { return spare_cores(1); }), 0);
  if (all.bound == 1) return;  // nothing to choose from
  EXPECT_EQ(on_processors(1, [] { return topology::find_cores().inherited ? 1 : 0; }), 0);
  EXPECT_EQ(on_processors(CPU_SETSIZE, [] { return topology::find_cores().inherited ? 1 : 0; }), 1);
}

}  // namespace
}  // namespace cpdcomm::testing
