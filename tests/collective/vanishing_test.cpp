// Processes on one host that end without destroying their communicator.
#include <gtest/gtest.h>

#include <thread>

#include "support/forked_ranks.hpp"
#include "support/ranks.hpp"
#include "transport/hosts.hpp"
#include "transport/threads.hpp"

namespace cpdcomm::testing {
namespace {

using namespace std::chrono_literals;

/// Shared memory reaches all ranks: no network carries anything.
Communicator connect(LocalBootstrap& bootstrap) {
  auto networks = transport::make_thread_transports(bootstrap.size());
  auto& unused = networks[static_cast<std::size_t>(bootstrap.rank())];
  auto hosts = std::make_unique<transport::Hosts>(std::move(unused),
                                                  transport::meet_neighbours(bootstrap, true));
  return Communicator(std::move(hosts), {.timeout = 60s, .codec_threads = 1});
}

/// Rank 3 waits for rank 1, which is late; meanwhile the process of rank 0, the root, is gone.
TEST(VanishedRank, IsNotAccusedByThoseWhoHaveAllThatItSent) {
  MeetingPlace place(4);
  const auto children = fork_ranks(place, [](LocalBootstrap& bootstrap) {
    Communicator self = connect(bootstrap);
    self.barrier();
    std::vector<std::byte> bytes(16, static_cast<std::byte>(self.rank() + 1));
    if (self.rank() == 1 || self.rank() == 2) std::this_thread::sleep_for(4s);
    self.broadcast(bytes, 0);
    if (self.rank() == 0) _exit(0);
    return bytes == std::vector<std::byte>(16, std::byte{1}) ? 0 : 1;
  });
  for (const int rank : {3, 2, 1, 0}) {  // rank 0 is a zombie until the end
    EXPECT_EQ(wait_for(children[static_cast<std::size_t>(rank)]), 0) << rank;
  }
}

TEST(VanishedRank, IsNamedByThoseWhoWaitForIt) {
  MeetingPlace place(4);
  const auto children = fork_ranks(place, [](LocalBootstrap& bootstrap) {
    Communicator self = connect(bootstrap);
    self.barrier();
    if (self.rank() == 2) _exit(0);
    const auto begin = std::chrono::steady_clock::now();
    const Outcome outcome = outcome_of([&] {
      std::vector<float> values(1000, 1.0f);
      self.allreduce(values, {.algorithm = Algorithm::ring});
    });
    if (!outcome.is(ErrorCode::peer_failed)) return 1;
    if (outcome.message.find("rank 2 (process ") == std::string::npos) return 2;
    return std::chrono::steady_clock::now() - begin < 20s ? 0 : 3;  // of a minute
  });
  for (const int rank : {3, 1, 0, 2}) {
    EXPECT_EQ(wait_for(children[static_cast<std::size_t>(rank)]), 0) << rank;
  }
}

}  // namespace
}  // namespace cpdcomm::testing
