#include "schedule/proof.hpp"

#include <gtest/gtest.h>

#include <functional>

namespace cpdcomm::testing {
namespace {

using schedule::Action;
using schedule::Message;
using schedule::Schedule;
using schedule::Step;

using Make = Schedule (*)(int rank, int ranks);

std::vector<Schedule> all_ranks(Make make, int ranks) {
  std::vector<Schedule> schedules;
  for (int rank = 0; rank < ranks; ++rank) schedules.push_back(make(rank, ranks));
  return schedules;
}

#ifdef CPDCOMM_LIGHT_TESTS
constexpr int kMostRanks = 20;
#else
constexpr int kMostRanks = 64;
#endif

TEST(Proof, HoldsForDirect) {
  for (int ranks = 1; ranks <= kMostRanks; ++ranks) {
    EXPECT_EQ(schedule::disprove_allreduce(all_ranks(schedule::direct, ranks)), "") << ranks;
  }
}

TEST(Proof, HoldsForRing) {
  for (int ranks = 1; ranks <= kMostRanks; ++ranks) {
    EXPECT_EQ(schedule::disprove_allreduce(all_ranks(schedule::ring, ranks)), "") << ranks;
  }
}

TEST(Proof, HoldsForTree) {
  for (int ranks = 1; ranks <= kMostRanks; ++ranks) {
    EXPECT_EQ(schedule::disprove_allreduce(all_ranks(schedule::tree, ranks)), "") << ranks;
  }
}

TEST(Proof, HoldsForHalvingDoubling) {
  for (int ranks = 1; ranks <= kMostRanks; ++ranks) {
    EXPECT_EQ(schedule::disprove_allreduce(all_ranks(schedule::halving_doubling, ranks)), "")
        << ranks;
  }
}

TEST(Direct, JoinsInRankOrder) {
  for (int rank = 0; rank < 7; ++rank) {
    for (const Step& step : schedule::direct(rank, 7).steps) {
      if (step.action != Action::finish) continue;
      EXPECT_EQ(step.chunk, rank);
      EXPECT_EQ(step.own_after, rank);
      ASSERT_EQ(step.receive.size(), 6u);
      for (int i = 0; i < 6; ++i) {
        EXPECT_EQ(step.receive[static_cast<std::size_t>(i)].peer, i < rank ? i : i + 1);
      }
    }
  }
}

/// A schedule that is wrong in one place.
struct Mistake {
  const char* name;
  Make make;
  std::function<void(std::vector<Schedule>&)> make_it;
};

Step& first_of(Schedule& schedule, Action action) {
  for (Step& step : schedule.steps) {
    if (step.action == action) return step;
  }
  throw std::logic_error("no such step");
}

std::vector<Mistake> mistakes() {
  using All = std::vector<Schedule>;
  const Make direct = schedule::direct;
  const Make ring = schedule::ring;
  return {
      {"a part is not sent", direct, [](All& all) { all[2].steps.erase(all[2].steps.begin()); }},
      {"a part is not received", direct,
       [](All& all) { first_of(all[1], Action::finish).receive.pop_back(); }},
      {"a part is sent twice", direct,
       [](All& all) { all[2].steps.insert(all[2].steps.begin(), all[2].steps.front()); }},
      {"a part is counted twice", direct,
       [](All& all) {
         auto& receive = first_of(all[1], Action::finish).receive;
         receive[0] = receive[1];
         auto& send = first_of(all[2], Action::send_part).send;
         send.insert(send.end(), 2, send.front());
       }},
      {"a result does not reach a rank", direct,
       [](All& all) {
         first_of(all[1], Action::finish).send.pop_back();
         all[0].steps.pop_back();
       }},
      {"a result is kept twice", direct,
       [](All& all) {
         auto& send = first_of(all[1], Action::finish).send;
         send.push_back(send.front());
         auto& steps = all[static_cast<std::size_t>(send.front().peer)].steps;
         for (std::size_t i = 0; i < steps.size(); ++i) {
           if (steps[i].action != Action::take || steps[i].chunk != 1) continue;
           steps.insert(steps.begin() + static_cast<std::ptrdiff_t>(i), steps[i]);
           break;
         }
       }},
      {"another chunk is sent", direct, [](All& all) { all[3].steps[0].chunk = 3; }},
      {"a chunk that does not exist", ring, [](All& all) { all[0].steps.back().chunk = 4; }},
      {"the own part enters nowhere", ring,
       [](All& all) { first_of(all[2], Action::finish).own_after = 2; }},
      {"the own part enters before the first", direct,
       [](All& all) { first_of(all[2], Action::finish).own_after = -1; }},
      {"a partial sum is called a result", ring,
       [](All& all) {
         first_of(all[0], Action::join).send[0].payload = Payload::result;
         all[1].steps[1].receive[0].payload = Payload::result;
       }},
      {"both ends count other parts", ring, [](All& all) { all[1].steps[1].receive[0].parts = 2; }},
      {"too many parts are announced", ring,
       [](All& all) {
         all[0].steps[0].send[0].parts = 2;
         all[1].steps[1].receive[0].parts = 2;
       }},
      {"a result is finished too early", ring,
       [](All& all) { all[0].steps[1].action = Action::finish; }},
      {"everybody waits for everybody", ring,
       [](All& all) {
         for (Schedule& schedule : all) std::swap(schedule.steps[0], schedule.steps[1]);
       }},
      {"messages change places", direct,
       [](All& all) {
         auto& steps = all[1].steps;
         std::swap(steps[0], steps[3]);
       }},
      {"a message has no taker", ring,
       [](All& all) {
         auto& send = all[0].steps.back().send;
         send.push_back({1, Payload::result, 4});
       }},
      {"a message goes to nobody", ring, [](All& all) { all[0].steps[0].send[0].peer = 4; }},
      {"a rank does less than the others", ring, [](All& all) { all[3].steps.clear(); }},
  };
}

TEST(Proof, FindsMistakes) {
  for (const Mistake& mistake : mistakes()) {
    std::vector<Schedule> schedules = all_ranks(mistake.make, 4);
    mistake.make_it(schedules);
    EXPECT_NE(schedule::disprove_allreduce(schedules), "") << mistake.name;
  }
}

}  // namespace
}  // namespace cpdcomm::testing
