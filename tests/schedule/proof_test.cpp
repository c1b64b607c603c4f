#include "schedule/proof.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <stdexcept>

#include "schedules.hpp"

namespace cpdcomm::testing {
namespace {

using schedule::Action;
using schedule::Flat;
using schedule::Leg;
using schedule::Message;
using schedule::Schedule;
using schedule::Step;

TEST(Proof, HoldsForEveryAllreduce) {
  for (const Flat make : {schedule::direct, schedule::ring, schedule::tree,
                          schedule::halving_doubling, schedule::exchange}) {
    for (int ranks = 1; ranks <= kMostRanks; ++ranks) {
      const std::vector<Schedule> schedules = all_ranks(make, ranks);
      EXPECT_EQ(schedule::disprove_allreduce(schedules), "") << schedules[0].name << " " << ranks;
    }
  }
}

TEST(Proof, HoldsForEveryReduceScatter) {
  for (const Flat make : {schedule::direct_reduce_scatter, schedule::ring_reduce_scatter}) {
    for (int ranks = 1; ranks <= kMostRanks; ++ranks) {
      const std::vector<Schedule> schedules = all_ranks(make, ranks);
      EXPECT_EQ(schedule::disprove_reduce_scatter(schedules), "")
          << schedules[0].name << " " << ranks;
    }
  }
}

TEST(Proof, TellsAllreduceFromReduceScatter) {
  EXPECT_NE(schedule::disprove_reduce_scatter(all_ranks(schedule::direct, 4)), "");
  EXPECT_NE(schedule::disprove_reduce_scatter(all_ranks(schedule::ring, 4)), "");
  EXPECT_NE(schedule::disprove_allreduce(all_ranks(schedule::direct_reduce_scatter, 4)), "");
  EXPECT_NE(schedule::disprove_allreduce(all_ranks(schedule::ring_reduce_scatter, 4)), "");
}

/// That a sum joins the parts of all ranks, its own between, in rank order.
void expect_rank_order(const Step& step, int rank, int ranks) {
  EXPECT_EQ(step.own_after, rank);
  ASSERT_EQ(step.receive.size(), static_cast<std::size_t>(ranks - 1));
  for (int i = 0; i < ranks - 1; ++i) {
    EXPECT_EQ(step.receive[static_cast<std::size_t>(i)].peer, i < rank ? i : i + 1);
  }
}

TEST(Proof, PartsJoinInRankOrderWhereTheyTravel) {
  for (const Flat make : {schedule::direct, schedule::direct_reduce_scatter, schedule::exchange}) {
    for (int rank = 0; rank < 7; ++rank) {
      const Schedule schedule = make(rank, 7);
      EXPECT_TRUE(schedule.parts_travel);
      int sums = 0;
      for (const Step& step : schedule.steps) {
        if (step.action != Action::finish && step.action != Action::keep) continue;
        EXPECT_EQ(step.chunk, schedule.chunks == 1 ? 0 : rank);
        expect_rank_order(step, rank, 7);
        ++sums;
      }
      EXPECT_EQ(sums, 1) << schedule.name;
    }
  }
}

/// A schedule that is wrong in one place.
struct Mistake {
  const char* name;
  Flat make;
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
  const Flat direct = schedule::direct;
  const Flat ring = schedule::ring;
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
      {"a result comes from two", ring,
       [](All& all) {
         Step& step = all[1].steps.back();
         step.receive.push_back(step.receive[0]);
         all[0].steps[5].send.push_back(all[0].steps[5].send[0]);
       }},
      {"a part is sent and others dropped", direct,
       [](All& all) {
         all[1].steps[0].receive.push_back({0, Payload::part, 1});
         all[0].steps[0].send.push_back({1, Payload::part, 1});
       }},
      {"one end thinks that it is inside a host", ring,
       [](All& all) { all[1].steps[1].receive[0].leg = Leg::inside_host; }},
      {"a sum ends as that of a reduce-scatter", direct,
       [](All& all) { first_of(all[1], Action::finish).action = Action::keep; }},
  };
}

/// Of a reduce-scatter.
std::vector<Mistake> scatter_mistakes() {
  using All = std::vector<Schedule>;
  const Flat direct = schedule::direct_reduce_scatter;
  const Flat ring = schedule::ring_reduce_scatter;
  return {
      {"a sum is sent on", ring,
       [](All& all) {
         all[0].steps.back().send.push_back({1, Payload::result, 4});
         all[1].steps.push_back({Action::take, 0, {{0, Payload::result, 4}}, 0, {}});
       }},
      {"all of another chunk", ring,
       [](All& all) {
         for (Schedule& schedule : all) {
           for (Step& step : schedule.steps) step.chunk = (step.chunk + 1) % 4;
         }
       }},
      {"a part is missing", direct,
       [](All& all) {
         all[2].steps.erase(all[2].steps.begin());
         all[3].steps.back().receive.pop_back();
       }},
      {"a sum ends as that of an all-reduce", ring,
       [](All& all) { all[1].steps.back().action = Action::finish; }},
      {"a rank keeps nothing", direct,
       [](All& all) {
         for (Schedule& schedule : all)
           std::erase_if(schedule.steps, [](const Step& step) { return step.chunk == 2; });
       }},
  };
}

TEST(Proof, FindsMistakes) {
  for (const Mistake& mistake : mistakes()) {
    std::vector<Schedule> schedules = all_ranks(mistake.make, 4);
    mistake.make_it(schedules);
    EXPECT_NE(schedule::disprove_allreduce(schedules), "") << mistake.name;
  }
}

TEST(Proof, FindsMistakesInReduceScatter) {
  for (const Mistake& mistake : scatter_mistakes()) {
    std::vector<Schedule> schedules = all_ranks(mistake.make, 4);
    mistake.make_it(schedules);
    EXPECT_NE(schedule::disprove_reduce_scatter(schedules), "") << mistake.name;
  }
}

}  // namespace
}  // namespace cpdcomm::testing
