// One rank that is a process: ucx_rank SCENARIO DIRECTORY RANK SIZE. What it finds out it prints;
// processes_test.cpp reads that.
#include <signal.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "cpdcomm/ucx.hpp"
#include "support/in_a_fork.hpp"
#include "support/patterns.hpp"
#include "ucx/checksum.hpp"

namespace cpdcomm::testing {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

bool is_last(const Communicator& own) { return own.rank() == own.size() - 1; }

/// One call with what comes of it: its error and the milliseconds that it took.
void report_failure(Communicator& own) {
  const auto begin = Clock::now();
  try {
    std::vector<float> values(100000, 1.0f);
    own.allreduce(values);
    std::printf("success\n");
  } catch (const Error& error) {
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - begin);
    std::printf("%s after %d ms: %s\n", to_string(error.code()), static_cast<int>(took.count()),
                error.what());
  }
}

void sum(Communicator& own) {
  for (const char* const wire : kWires) {
    std::vector<float> values = gradients(kCount, static_cast<unsigned>(own.rank()));
    own.allreduce(values, {.wire = Format::parse(wire), .algorithm = Algorithm::direct});
    std::printf("%s %08x\n", wire, checksum(values));
  }
}

/// The others wait for the last rank when it dies.
void killed(Communicator& own) {
  own.barrier();
  if (is_last(own)) {
    std::this_thread::sleep_for(300ms);
    raise(SIGKILL);
  }
  report_failure(own);
  report_failure(own);  // the communicator is dead
}

/// The others wait for the last rank when it destroys its communicator; its process lives on.
void left(Communicator& own) {
  own.barrier();
  if (!is_last(own)) return report_failure(own);
  std::this_thread::sleep_for(300ms);
  { const Communicator gone = std::move(own); }
  std::this_thread::sleep_for(1s);
}

void stopped(Communicator& own) {
  own.barrier();
  if (is_last(own)) raise(SIGSTOP);
  report_failure(own);
}

void mismatch(Communicator& own) {
  std::vector<float> values(is_last(own) ? 10 : 20, 1.0f);
  try {
    own.allreduce(values);
  } catch (const Error& error) {
    std::printf("%s\n", to_string(error.code()));
  }
  sum(own);
}

/// The root's process is gone before its peers take what it has sent.
void late(Communicator& own) {
  std::vector<std::byte> bytes(200000, static_cast<std::byte>(own.rank() + 1));
  if (own.rank() != 0) std::this_thread::sleep_for(500ms);
  own.broadcast(bytes, 0);
  const std::vector<std::byte> wanted(bytes.size(), std::byte{1});
  std::printf("%s\n", bytes == wanted ? "right" : "wrong");
}

/// Each rank forks a child: one that tears down what it has inherited, then one that makes a group
/// with the other ranks' children.
void forked(Communicator& own, const std::string& directory) {
  const int rank = own.rank();
  const int size = own.size();
  const int left = in_a_fork([&] {
    const Communicator gone = std::move(own);
    return 7;
  });
  const int met = in_a_fork([&] {
    FileBootstrap bootstrap(directory, rank, size, 20000ms, "children");
    Communicator child = make_ucx_communicator(bootstrap, {.timeout = 60000ms});
    std::vector<float> values(1000, 1.0f);
    child.allreduce(values);
    return static_cast<int>(values.front());
  });
  std::printf("children ended with %d and %d\n", left, met);
  sum(own);
}

/// The last rank never comes; the others' bootstrap says so.
void absent(Communicator& own) { std::printf("%d ranks\n", own.size()); }

int play(const std::string& scenario, const char* directory, int rank, int size) {
  const std::map<std::string, std::function<void(Communicator&)>> scenarios = {
      {"sum", sum},
      {"killed", killed},
      {"left", left},
      {"stopped", stopped},
      {"mismatch", mismatch},
      {"late", late},
      {"absent", absent},
      {"shared", sum},
      {"forked", [&](Communicator& own) { forked(own, directory); }}};
  if (scenario == "absent" && rank == size - 1) return 0;
  const auto timeout = scenario == "stopped" ? 1500ms : 60000ms;
  try {
    FileBootstrap bootstrap(directory, rank, size, scenario == "absent" ? 500ms : 20000ms);
    Communicator own =
        make_ucx_communicator(bootstrap, {.timeout = timeout, .shared_memory = false},
                              {.report_failures = scenario != "shared"});
    scenarios.at(scenario)(own);
  } catch (const Error& error) {
    std::printf("%s: %s\n", to_string(error.code()), error.what());
    return 1;
  }
  std::printf("end\n");
  return 0;
}

}  // namespace
}  // namespace cpdcomm::testing

/// For the leak sanitizer: when a peer dies, the engine leaves messages on their way to the
/// network.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() {
  return "leak:cpdcomm::collective::BufferPool\n";
}

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  setvbuf(stdout, nullptr, _IOLBF, 0);
  return cpdcomm::testing::play(argv[1], argv[2], std::atoi(argv[3]), std::atoi(argv[4]));
}
