// Schedules that move chunks as they are, and the one that sums to a root.
#include <gtest/gtest.h>

#include <string>

#include "schedule/proof.hpp"
#include "schedules.hpp"

namespace cpdcomm::testing {
namespace {

using schedule::Action;
using schedule::Movement;
using schedule::Schedule;

using ToRoot = Schedule (*)(int rank, int ranks, int root);

struct Rooted {
  Movement movement;
  ToRoot make;
};
constexpr Rooted kRooted[] = {{Movement::broadcast, schedule::broadcast},
                              {Movement::gather, schedule::gather},
                              {Movement::scatter, schedule::scatter},
                              {Movement::reduce, schedule::reduce}};

std::vector<Schedule> all_ranks_of(ToRoot make, int ranks, int root) {
  std::vector<Schedule> schedules;
  for (int rank = 0; rank < ranks; ++rank) schedules.push_back(make(rank, ranks, root));
  return schedules;
}

TEST(Movements, BringEveryChunkWhereItBelongs) {
  for (int ranks = 1; ranks <= kMostRanks; ++ranks) {
    for (const Rooted& rooted : kRooted) {
      for (const int root : {0, ranks / 2, ranks - 1}) {
        const auto schedules = all_ranks_of(rooted.make, ranks, root);
        EXPECT_EQ(schedule::disprove(rooted.movement, schedules, root), "")
            << schedules[0].name << " of " << ranks << " to " << root;
      }
    }
    EXPECT_EQ(schedule::disprove(Movement::allgather, all_ranks(schedule::allgather, ranks)), "");
    if (ranks > 20) continue;  // ranks^2 chunks
    EXPECT_EQ(schedule::disprove(Movement::alltoall, all_ranks(schedule::alltoall, ranks)), "");
  }
}

/// At each distance one message comes in and one goes out: no rank is flooded.
TEST(Movements, AlltoallNeverFloodsARank) {
  for (const int ranks : {2, 3, 8, 16}) {
    const int most = schedule::most_messages_waiting(all_ranks(schedule::alltoall, ranks));
    EXPECT_LE(most, ranks - 1) << ranks;
  }
}

TEST(Movements, AreNotProvedOfAnotherRoot) {
  for (const Rooted& rooted : kRooted) {
    EXPECT_NE(schedule::disprove(rooted.movement, all_ranks_of(rooted.make, 4, 1), 2), "")
        << rooted.make(0, 4, 1).name;
  }
}

TEST(Movements, AreNotProvedOfEachOther) {
  const auto gather = all_ranks_of(schedule::gather, 4, 0);
  const auto reduce = all_ranks_of(schedule::reduce, 4, 0);
  EXPECT_NE(schedule::disprove(Movement::reduce, gather), "");
  EXPECT_NE(schedule::disprove(Movement::gather, reduce), "");
  EXPECT_NE(schedule::disprove(Movement::allgather, gather), "");
  EXPECT_NE(schedule::disprove(Movement::scatter, gather), "");
}

TEST(Movements, AreDisprovedByOneMistake) {
  auto late = all_ranks(schedule::alltoall, 3);
  late[1].steps.pop_back();
  EXPECT_NE(schedule::disprove(Movement::alltoall, late), "");
  auto crossed = all_ranks_of(schedule::gather, 3, 0);
  crossed[2].steps.front().chunk = 1;
  EXPECT_NE(schedule::disprove(Movement::gather, crossed), "");
  auto silent = all_ranks_of(schedule::scatter, 3, 0);
  silent[0].steps.front().send.clear();
  EXPECT_NE(schedule::disprove(Movement::scatter, silent), "");
}

}  // namespace
}  // namespace cpdcomm::testing
