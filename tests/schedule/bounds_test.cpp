// How many messages can wait for one rank of a lane: its memory, when the others are fast.
#include <gtest/gtest.h>

#include <bit>

#include "schedule/proof.hpp"
#include "schedules.hpp"

namespace cpdcomm::testing {
namespace {

using schedule::Action;
using schedule::Flat;
using schedule::most_messages_waiting;
using schedule::Payload;
using schedule::Schedule;

/// Small numbers of ranks, and some large ones.
std::vector<int> numbers_of_ranks() {
  std::vector<int> numbers{31, 32, 33, 48, 63, 64};
  std::erase_if(numbers, [](int number) { return number > kMostRanks; });
  for (int number = 1; number <= 20; ++number) numbers.push_back(number);
  return numbers;
}

int most(Flat make, int ranks) { return most_messages_waiting(all_ranks(make, ranks)); }

int most_on(int hosts, int ranks, Flat across) {
  return most_messages_waiting(
      all_ranks(blocks(std::vector<int>(static_cast<std::size_t>(hosts), ranks)), across));
}

TEST(Bounds, CountWhatComesWhileARankStops) {
  // Rank 1 sends three messages at once; rank 0 answers the first.
  const auto message = [](int peer) { return schedule::Message{peer, Payload::part, 1}; };
  std::vector<Schedule> two{{"", 0, 2, 1, false, {}}, {"", 1, 2, 1, false, {}}};
  two[0].steps = {{Action::join, 0, {message(1)}, 0, {message(1)}},
                  {Action::join, 0, {message(1), message(1)}, 0, {}}};
  two[1].steps = {{Action::join, 0, {}, 0, {message(0), message(0)}},
                  {Action::join, 0, {message(0)}, 0, {message(0)}}};
  EXPECT_EQ(most_messages_waiting(two), 2);
  // If it waits for no answer, all three are there.
  two[1].steps[1].receive.clear();
  two[0].steps[0].send.clear();
  EXPECT_EQ(most_messages_waiting(two), 3);
}

TEST(Bounds, OfFlatAlgorithms) {
  for (const int ranks : numbers_of_ranks()) {
    SCOPED_TRACE(ranks);
    // Everybody's part of the own chunk, and the results of all other chunks.
    EXPECT_EQ(most(schedule::direct, ranks), 2 * (ranks - 1));
    // Everybody's part, and nothing else is ever sent.
    EXPECT_EQ(most(schedule::exchange, ranks), ranks - 1);
    EXPECT_EQ(most(schedule::direct_reduce_scatter, ranks), ranks - 1);
    // Only the rank before sends. It can be ranks - 1 messages ahead of what this rank has sent,
    // which is one ahead of what it has taken. A reduce-scatter has no more than ranks - 1.
    EXPECT_EQ(most(schedule::ring, ranks), ranks == 1 ? 0 : ranks);
    EXPECT_EQ(most(schedule::ring_reduce_scatter, ranks), ranks - 1);
    // Two partial sums from children in one tree, and the result of the other.
    EXPECT_LE(most(schedule::tree, ranks), 3);
  }
}

TEST(Bounds, OfHalvingDoubling) {
  for (const int ranks : numbers_of_ranks()) {
    // The partner of each level sends partial sums of half the chunks that the level before sent:
    // ranks - 1 in all, and the first half of the results before it needs anything from this rank.
    // Where a half is odd, two send them, at worst on every level.
    const bool is_even = std::has_single_bit(static_cast<unsigned>(ranks));
    EXPECT_LE(most(schedule::halving_doubling, ranks), is_even ? 3 * ranks / 2 : 5 * ranks / 2)
        << ranks;
  }
}

TEST(Bounds, OfHierarchical) {
  for (int hosts = 1; hosts <= kMostHosts; ++hosts) {
    for (int ranks = 1; ranks <= kMostHosts; ++ranks) {
      SCOPED_TRACE(::testing::Message() << hosts << " hosts x " << ranks);
      // Each neighbour sends the parts of a link of the chain and those of the next, and as many
      // results. In a chain of single steps that is at most four, whatever the number of hosts; in
      // direct all parts are one link and all results another.
      EXPECT_LE(most_on(hosts, ranks, schedule::ring), hosts + 4 * (ranks - 1));
      EXPECT_LE(most_on(hosts, ranks, schedule::tree), 3 + 4 * (ranks - 1));
      EXPECT_LE(most_on(hosts, ranks, schedule::direct), 2 * (hosts * ranks - 1));
      // Every other link of halving and doubling has as many steps as it has chunks to send.
      EXPECT_LE(most_on(hosts, ranks, schedule::halving_doubling),
                5 * hosts / 2 + 2 * hosts * (ranks - 1));
    }
  }
}

}  // namespace
}  // namespace cpdcomm::testing
