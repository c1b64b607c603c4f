// Ranks that are processes over UCX: they find each other by files, and one of them dies.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <chrono>
#include <cstdio>
#include <fstream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "support/patterns.hpp"
#include "support/ranks.hpp"
#include "support/scratch.hpp"
#include "ucx/checksum.hpp"

namespace cpdcomm::testing {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

class Processes {
 public:
  Processes(const std::string& scenario, int size) {
    for (int rank = 0; rank < size; ++rank) start(scenario, rank, size);
  }
  ~Processes() {
    for (const Process& one : all_) {
      if (one.ended) continue;
      kill(one.id, SIGKILL);
      waitpid(one.id, nullptr, 0);
    }
  }

  /// Waits for one to end.
  /// @return its status as of waitpid
  int wait(int rank) {
    Process& one = all_[static_cast<std::size_t>(rank)];
    const auto deadline = Clock::now() + 60s;
    int status = -1;
    while (!one.ended && Clock::now() < deadline) {
      one.ended = waitpid(one.id, &status, WNOHANG) == one.id;
      if (!one.ended) std::this_thread::sleep_for(5ms);
    }
    EXPECT_TRUE(one.ended) << "rank " << rank << " hangs after: " << output(rank);
    return status;
  }
  void expect_success(int rank) {
    const int status = wait(rank);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0)
        << "rank " << rank << " ended with " << status << ": " << output(rank);
  }
  /// What it has printed; that on stderr, too.
  std::string output(int rank) const {
    std::ostringstream text;
    text << std::ifstream(file(rank)).rdbuf();
    return text.str();
  }

 private:
  struct Process {
    pid_t id;
    bool ended;
  };

  std::string file(int rank) const {
    return (scratch_.path() / ("output." + std::to_string(rank))).string();
  }
  void start(const std::string& scenario, int rank, int size) {
    std::string words[] = {CPDCOMM_UCX_RANK, scenario, scratch_.path().string(),
                           std::to_string(rank), std::to_string(size)};
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, file(rank).c_str(), O_WRONLY | O_CREAT | O_TRUNC,
                                     0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    pid_t id = 0;
    if (posix_spawn(&id, arguments[0], &actions, nullptr, arguments.data(), environ) != 0) {
      throw std::runtime_error("cannot start " + words[0]);
    }
    posix_spawn_file_actions_destroy(&actions);
    all_.push_back({id, false});
  }

  Scratch scratch_;
  std::vector<Process> all_;
};

/// What ranks print whose sums are right.
std::string right_sums(int size) {
  Ranks threads(size);
  std::string text;
  for (const char* const wire : kWires) {
    std::vector<float> result;
    threads.run([&](Communicator& own) {
      std::vector<float> values = gradients(kCount, static_cast<unsigned>(own.rank()));
      own.allreduce(values, {.wire = Format::parse(wire), .algorithm = Algorithm::direct});
      if (own.rank() == 0) result = values;
    });
    char line[64];
    std::snprintf(line, sizeof line, "%s %08x\n", wire, checksum(result));
    text += line;
  }
  return text;
}

void expect_right_sums(const std::string& scenario, int size) {
  Processes ranks(scenario, size);
  const std::string wanted = right_sums(size) + "end\n";
  for (int rank = 0; rank < size; ++rank) {
    ranks.expect_success(rank);
    EXPECT_EQ(ranks.output(rank), wanted) << "rank " << rank;
  }
}

TEST(UcxProcesses, SumToTheBitsOfThreads) {
  expect_right_sums("sum", 2);
  expect_right_sums("sum", 4);
}

TEST(UcxProcesses, SumOverSharedMemory) { expect_right_sums("shared", 3); }

TEST(UcxProcesses, FindAMismatchAndGoOn) {
  Processes ranks("mismatch", 3);
  for (int rank = 0; rank < 3; ++rank) {
    ranks.expect_success(rank);
    EXPECT_EQ(ranks.output(rank), "mismatch\n" + right_sums(3) + "end\n");
  }
}

TEST(UcxProcesses, GoOnAfterTheirForksHaveEnded) {
  Processes ranks("forked", 3);
  for (int rank = 0; rank < 3; ++rank) {
    ranks.expect_success(rank);
    EXPECT_EQ(ranks.output(rank), "children ended with 7 and 3\n" + right_sums(3) + "end\n");
  }
}

/// One line of rank.cpp's report_failure().
struct Failure {
  std::string code;
  int milliseconds = -1;
  std::string message;
};

Failure failure_in(std::istream& lines) {
  Failure failure;
  std::string word;
  lines >> failure.code >> word >> failure.milliseconds >> word;
  std::getline(lines, failure.message);
  return failure;
}

TEST(UcxProcesses, ReportAKilledRankAtOnceByItsName) {
  constexpr int kRanks = 4;
  Processes ranks("killed", kRanks);
  for (int rank = 0; rank < kRanks - 1; ++rank) {
    ranks.expect_success(rank);
    std::istringstream said(ranks.output(rank));
    for (const bool first : {true, false}) {  // in the second call it is known
      const Failure failure = failure_in(said);
      EXPECT_EQ(failure.code, "peer_failed");
      EXPECT_GE(failure.milliseconds, 0) << said.str();
      EXPECT_LT(failure.milliseconds, first ? 5000 : 1000) << said.str();  // of a minute
      EXPECT_NE(failure.message.find("rank 3 is gone"), std::string::npos) << said.str();
    }
  }
  const int status = ranks.wait(kRanks - 1);
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

TEST(UcxProcesses, ReportARankThatLeftAtOnceByItsName) {
  constexpr int kRanks = 3;
  Processes ranks("left", kRanks);
  for (int rank = 0; rank < kRanks; ++rank) {
    ranks.expect_success(rank);
    if (rank == kRanks - 1) continue;
    std::istringstream said(ranks.output(rank));
    const Failure failure = failure_in(said);
    EXPECT_EQ(failure.code, "peer_failed");
    EXPECT_LT(failure.milliseconds, 5000) << said.str();  // of a minute
    EXPECT_NE(failure.message.find("rank 2 has left: its communicator is gone"), std::string::npos)
        << said.str();
  }
}

TEST(UcxProcesses, ReportAStoppedRankByTheDeadline) {
  Processes ranks("stopped", 3);
  for (int rank = 0; rank < 2; ++rank) {
    ranks.expect_success(rank);
    std::istringstream said(ranks.output(rank));
    const Failure failure = failure_in(said);
    // Of two that wait, one may learn it from the other.
    EXPECT_TRUE(failure.code == "timeout" || failure.code == "peer_failed") << said.str();
    EXPECT_GE(failure.milliseconds, 1400) << said.str();  // the timeout is 1500
    EXPECT_LT(failure.milliseconds, 6000) << said.str();
  }
}

TEST(UcxProcesses, HearWhatWasSentByOneThatHasEnded) {
  Processes ranks("late", 3);
  for (int rank = 0; rank < 3; ++rank) {
    ranks.expect_success(rank);
    EXPECT_EQ(ranks.output(rank), "right\nend\n");
  }
}

TEST(UcxProcesses, NameTheRankThatDoesNotCome) {
  Processes ranks("absent", 3);
  for (int rank = 0; rank < 2; ++rank) {
    ranks.wait(rank);
    EXPECT_EQ(ranks.output(rank).find("timeout: rank 2 of 3 did not come"), 0u)
        << ranks.output(rank);
  }
}

}  // namespace
}  // namespace cpdcomm::testing
