// Schedules that spread what some ranks have: every rank gets every chunk, once.
#include <gtest/gtest.h>

#include <deque>
#include <map>
#include <set>

#include "schedule/schedule.hpp"

namespace cpdcomm::testing {
namespace {

using schedule::Action;
using schedule::Message;
using schedule::Schedule;
using schedule::Step;

class Spread {
 public:
  explicit Spread(std::vector<Schedule> by_rank)
      : by_rank_(std::move(by_rank)), at_(by_rank_.size()), kept_(by_rank_.size()) {}

  void expect_everybody_gets_everything() {
    while (advance_any()) {
    }
    for (std::size_t rank = 0; rank < by_rank_.size(); ++rank) {
      EXPECT_EQ(at_[rank], by_rank_[rank].steps.size()) << "rank " << rank << " waits for ever";
      EXPECT_EQ(kept_[rank].size(), static_cast<std::size_t>(by_rank_[rank].chunks));
    }
    for (const auto& [pair, chunks] : in_flight_) EXPECT_TRUE(chunks.empty());
  }

 private:
  bool advance_any() {
    bool moved = false;
    for (std::size_t rank = 0; rank < by_rank_.size(); ++rank) {
      if (at_[rank] == by_rank_[rank].steps.size()) continue;
      moved = act(rank, by_rank_[rank].steps[at_[rank]]) || moved;
    }
    return moved;
  }

  bool act(std::size_t rank, const Step& step) {
    const int self = static_cast<int>(rank);
    for (const Message& message : step.receive) {
      auto& chunks = in_flight_[{message.peer, self}];
      if (chunks.empty()) return false;
      EXPECT_EQ(chunks.front(), step.chunk);
      chunks.pop_front();
    }
    EXPECT_EQ(step.receive.size(), step.action == Action::take ? 1u : 0u);
    EXPECT_TRUE(kept_[rank].insert(step.chunk).second) << "chunk " << step.chunk << " came twice";
    for (const Message& message : step.send) in_flight_[{self, message.peer}].push_back(step.chunk);
    ++at_[rank];
    return true;
  }

  std::vector<Schedule> by_rank_;
  std::vector<std::size_t> at_;
  std::vector<std::set<int>> kept_;
  std::map<std::pair<int, int>, std::deque<int>> in_flight_;
};

TEST(Broadcast, ReachesEverybodyFromEveryRoot) {
  for (int ranks = 1; ranks <= 20; ++ranks) {
    for (int root = 0; root < ranks; ++root) {
      SCOPED_TRACE(::testing::Message() << ranks << " ranks, root " << root);
      std::vector<Schedule> schedules;
      for (int rank = 0; rank < ranks; ++rank) {
        schedules.push_back(schedule::broadcast(rank, ranks, root));
        const Action wanted = rank == root ? Action::finish : Action::take;
        EXPECT_EQ(schedules.back().steps.at(0).action, wanted);
      }
      Spread(std::move(schedules)).expect_everybody_gets_everything();
    }
  }
}

TEST(Allgather, BringsEverythingToEverybody) {
  for (int ranks = 1; ranks <= 40; ++ranks) {
    SCOPED_TRACE(ranks);
    std::vector<Schedule> schedules;
    for (int rank = 0; rank < ranks; ++rank) {
      schedules.push_back(schedule::allgather(rank, ranks));
      EXPECT_EQ(schedules.back().steps.at(0).chunk, rank);
      EXPECT_EQ(schedules.back().steps.at(0).action, Action::finish);
    }
    Spread(std::move(schedules)).expect_everybody_gets_everything();
  }
}

}  // namespace
}  // namespace cpdcomm::testing
