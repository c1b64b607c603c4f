#include "transport/neighbours.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <thread>

#include "support/local_bootstrap.hpp"

namespace cpdcomm::testing {
namespace {

using transport::HostMap;
using transport::map_hosts;
using transport::meet_neighbours;
using transport::Neighbourhood;

using Hosts = std::vector<int>;

TEST(MapHosts, NumbersThemByTheirFirstRanks) {
  const HostMap map = map_hosts({{0, 2}, {1, 4}, {0, 2}, {3}, {1, 4}});
  EXPECT_EQ(map.host_of, (Hosts{0, 1, 0, 2, 1}));
  EXPECT_EQ(map.reason, "");
  EXPECT_EQ(map.ranks_on(1), (Hosts{1, 4}));
  EXPECT_EQ(map_hosts({{0}}).host_of, Hosts{0});
}

TEST(MapHosts, LeavesEveryRankAloneWhereSeeingIsOneSided) {
  const HostMap map = map_hosts({{0, 1}, {0, 1}, {1, 2}});
  EXPECT_EQ(map.host_of, (Hosts{0, 1, 2}));
  EXPECT_EQ(map.reason, "rank 2 sees memory of rank 1, which sees that of other ranks");
}

TEST(MapHosts, LeavesEveryRankAloneWhereSeeingIsNotPassedOn) {
  const HostMap map = map_hosts({{0, 1}, {0, 1, 2}, {1, 2}, {3, 4}, {3, 4}});
  EXPECT_EQ(map.host_of, (Hosts{0, 1, 2, 3, 4}));
  EXPECT_NE(map.reason, "");
}

/// What some ranks say is spoiled on the way to this one.
class BlurredBootstrap final : public LocalBootstrap {
 public:
  using Spoiled = std::function<bool(int from, int to)>;
  BlurredBootstrap(MeetingPlace& place, int rank, Spoiled spoiled)
      : LocalBootstrap(place, rank), spoiled_(std::move(spoiled)) {}

  std::vector<std::vector<std::byte>> allgather(std::span<const std::byte> mine) override {
    auto all = LocalBootstrap::allgather(mine);
    for (int from = 0; from < size(); ++from) {
      auto& card = all[static_cast<std::size_t>(from)];
      // Views are shorter.
      if (card.size() > kInNonce && spoiled_(from, rank())) card[kInNonce] ^= std::byte{1};
    }
    return all;
  }

 private:
  static constexpr std::size_t kInNonce = 50;  // the name has 48 bytes

  Spoiled spoiled_;
};

std::vector<Neighbourhood> meet(int ranks, const BlurredBootstrap::Spoiled& spoiled,
                                const std::function<bool(int)>& wanted) {
  MeetingPlace place(ranks);
  std::vector<Neighbourhood> all(static_cast<std::size_t>(ranks));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      BlurredBootstrap bootstrap(place, rank, spoiled);
      all[static_cast<std::size_t>(rank)] = meet_neighbours(bootstrap, wanted(rank));
    });
  }
  for (std::thread& thread : threads) thread.join();
  return all;
}

bool never(int, int) { return false; }
bool always(int) { return true; }

TEST(Neighbours, ShareMemoryOnOneHost) {
  for (const int ranks : {2, 3, 7}) {
    const auto all = meet(ranks, never, always);
    for (int rank = 0; rank < ranks; ++rank) {
      const Neighbourhood& found = all[static_cast<std::size_t>(rank)];
      EXPECT_EQ(found.hosts.host_of, Hosts(static_cast<std::size_t>(ranks), 0));
      EXPECT_EQ(found.beyond(rank), std::vector<bool>(static_cast<std::size_t>(ranks)));
      ASSERT_TRUE(found.memory);
      EXPECT_EQ(found.memory->rank(), rank);
      EXPECT_EQ(found.memory->size(), ranks);
      EXPECT_EQ(found.reason, "");
    }
  }
}

TEST(Neighbours, NeedNoMemoryForOne) {
  const auto all = meet(1, never, always);
  EXPECT_EQ(all[0].hosts.host_of, Hosts{0});
  EXPECT_FALSE(all[0].memory);
  EXPECT_EQ(all[0].reason, "");
}

TEST(Neighbours, AreOnlyThoseWhoseNonceIsFound) {
  // A name without its nonce is another host's object: even ranks do not see the odd ones.
  const auto all = meet(
      5, [](int from, int to) { return from % 2 != to % 2; }, always);
  for (int rank = 0; rank < 5; ++rank) {
    const Neighbourhood& found = all[static_cast<std::size_t>(rank)];
    EXPECT_EQ(found.hosts.host_of, (Hosts{0, 1, 0, 1, 0}));
    ASSERT_TRUE(found.memory);
    const bool even = rank % 2 == 0;
    EXPECT_EQ(found.beyond(rank), (std::vector<bool>{!even, even, !even, even, !even}));
    EXPECT_EQ(found.memory->rank(), rank / 2);
    EXPECT_EQ(found.memory->size(), rank % 2 == 0 ? 3 : 2);
  }
}

TEST(Neighbours, AreNoneWhereOneSeesLess) {
  const auto all = meet(
      4, [](int from, int to) { return from == 3 && to == 1; }, always);
  for (int rank = 0; rank < 4; ++rank) {
    const Neighbourhood& found = all[static_cast<std::size_t>(rank)];
    EXPECT_EQ(found.hosts.host_of, (Hosts{0, 1, 2, 3}));
    EXPECT_FALSE(found.memory);
    std::vector<bool> beyond(4, true);
    beyond[static_cast<std::size_t>(rank)] = false;
    EXPECT_EQ(found.beyond(rank), beyond);
    EXPECT_NE(found.reason, "");
    EXPECT_EQ(found.reason, all[0].reason);
  }
}

TEST(Neighbours, LetARankStayAlone) {
  const auto all = meet(3, never, [](int rank) { return rank != 1; });
  for (const Neighbourhood& found : all) EXPECT_EQ(found.hosts.host_of, (Hosts{0, 1, 0}));
  EXPECT_TRUE(all[0].memory);
  EXPECT_FALSE(all[1].memory);
  EXPECT_TRUE(all[2].memory);
}

/// A child in which rank 1 may write no file longer than 8 KiB, as if /dev/shm were full.
int without_room(LocalBootstrap& bootstrap) {
  if (bootstrap.rank() == 1) {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{8192, 8192};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  const Neighbourhood found = meet_neighbours(bootstrap, true);
  if (found.memory) return 1;
  if (found.hosts.host_of != Hosts{0, 0, 0}) return 2;
  return found.reason.starts_with("rank 1: shared memory of ") &&
                 found.reason.find("posix_fallocate: File too large") != std::string::npos
             ? 0
             : 3;
}

TEST(Neighbours, GoWithoutWhereMemoryIsMissing) {
  MeetingPlace place(3);
  std::vector<pid_t> children;
  for (int rank = 0; rank < 3; ++rank) {
    const pid_t child = fork();
    if (child == 0) {
      LocalBootstrap bootstrap(place, rank);
      _exit(without_room(bootstrap));
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    EXPECT_EQ(status, 0) << WEXITSTATUS(status);
  }
}

}  // namespace
}  // namespace cpdcomm::testing
