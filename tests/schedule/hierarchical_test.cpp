// hierarchical() over many shapes of hosts, and what it promises beside being right.
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <map>

#include "cpdcomm/error.hpp"
#include "schedule/proof.hpp"
#include "schedules.hpp"

namespace cpdcomm::testing {
namespace {

using schedule::Action;
using schedule::Flat;
using schedule::Hosts;
using schedule::Leg;
using schedule::Message;
using schedule::Schedule;
using schedule::Step;

const std::vector<std::vector<int>> kUnequal{
    {1, 2}, {2, 1}, {3, 5}, {4, 1, 4}, {2, 3, 4, 5}, {5, 4, 3, 2, 1}, {1, 8, 1}, {6, 2, 7, 3, 2}};

void expect_right(const Hosts& hosts) {
  for (const Across& across : kAcross) {
    EXPECT_EQ(schedule::disprove_allreduce(all_ranks(hosts, across.make)), "") << across.name;
  }
}

TEST(Hierarchical, IsRightForEqualHosts) {
  for (int hosts = 1; hosts <= kMostHosts; ++hosts) {
    for (int ranks = 1; ranks <= kMostHosts; ++ranks) {
      SCOPED_TRACE(::testing::Message() << hosts << " hosts x " << ranks);
      const std::vector<int> sizes(static_cast<std::size_t>(hosts), ranks);
      expect_right(blocks(sizes));
      expect_right(dealt(sizes));
    }
  }
}

TEST(Hierarchical, IsRightForUnequalHosts) {
  for (const std::vector<int>& sizes : kUnequal) {
    SCOPED_TRACE(::testing::PrintToString(sizes));
    expect_right(blocks(sizes));
    expect_right(dealt(sizes));
  }
  expect_right({0, 1, 1, 0, 2, 1, 0, 0, 2, 1});
}

TEST(Hierarchical, IsTheFlatScheduleWhereEveryRankHasItsHost) {
  for (const Across& across : kAcross) {
    for (int ranks = 1; ranks <= 9; ++ranks) {
      const Hosts hosts = blocks(std::vector<int>(static_cast<std::size_t>(ranks), 1));
      for (int rank = 0; rank < ranks; ++rank) {
        const Schedule made = schedule::hierarchical(rank, hosts, across.make);
        const Schedule flat = across.make(rank, ranks);
        EXPECT_EQ(made.chunks, flat.chunks);
        EXPECT_EQ(made.parts_travel, flat.parts_travel);
        EXPECT_TRUE(made.steps == flat.steps) << across.name << ", rank " << rank;
      }
    }
  }
}

TEST(Hierarchical, IsDirectInsideASingleHost) {
  for (int rank = 0; rank < 5; ++rank) {
    const Schedule made = schedule::hierarchical(rank, {0, 0, 0, 0, 0}, schedule::ring);
    EXPECT_EQ(made.chunks, 5);
    std::map<Action, int> times;
    for (const Step& step : made.steps) {
      ++times[step.action];
      for (const Message& message : step.send) EXPECT_EQ(message.leg, Leg::inside_host);
    }
    EXPECT_EQ(times, (std::map<Action, int>{
                         {Action::send_part, 4}, {Action::finish, 1}, {Action::take, 4}}));
  }
}

TEST(Hierarchical, HostsJoinInLocalRankOrderAndDirectInOrderOfHosts) {
  const Hosts hosts{0, 1, 1, 0, 2, 1, 0, 2, 0};  // 0: 0 3 6 8, 1: 1 2 5, 2: 4 7
  const std::vector<std::vector<int>> ranks{{0, 3, 6, 8}, {1, 2, 5}, {4, 7}};
  for (std::size_t host = 0; host < 3; ++host) {
    for (int place = 0; place < 2; ++place) {
      const int rank = ranks[host][static_cast<std::size_t>(place)];
      int gathered = 0;
      for (const Step& step : schedule::hierarchical(rank, hosts, schedule::direct).steps) {
        if (step.inside.empty()) continue;
        std::vector<int> order;
        for (const Message& message : step.inside) order.push_back(message.peer);
        order.insert(order.begin() + step.own_inside_after, rank);
        EXPECT_EQ(order, ranks[host]);
        ++gathered;
        if (step.action != Action::finish) continue;
        EXPECT_EQ(step.own_after, static_cast<int>(host));
        for (std::size_t i = 0; i < 2; ++i) {
          const std::size_t other = i < host ? i : i + 1;
          EXPECT_EQ(step.receive.at(i).peer, ranks[other][static_cast<std::size_t>(place)]);
          EXPECT_EQ(step.receive.at(i).parts, static_cast<int>(ranks[other].size()));
        }
      }
      EXPECT_EQ(gathered, 3) << "one chunk for each host";
    }
  }
}

TEST(Hierarchical, LegsSayWhichMessagesLeaveTheHost) {
  const Hosts hosts = dealt({3, 4, 2});
  for (const Across& across : kAcross) {
    for (const Schedule& schedule : all_ranks(hosts, across.make)) {
      const auto host_of = [&](int rank) { return hosts[static_cast<std::size_t>(rank)]; };
      for (const Step& step : schedule.steps) {
        for (const Message& message : step.send) {
          EXPECT_EQ(message.leg == Leg::inside_host,
                    host_of(message.peer) == host_of(schedule.rank));
        }
      }
    }
  }
}

TEST(Hierarchical, RefusesAnAlgorithmThatUsesAPartTwice) {
  for (const Hosts& hosts : {Hosts{0, 0, 1, 1}, Hosts{0, 0}}) {
    try {
      schedule::hierarchical(0, hosts, schedule::exchange);
      FAIL() << "exchange was taken";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
      EXPECT_NE(std::string(error.what()).find("exchange"), std::string::npos);
    }
  }
}

TEST(Hierarchical, RefusesHostsThatAreNotNumberedInOrder) {
  for (const Hosts& hosts : {Hosts{1, 0}, Hosts{0, 2, 1}, Hosts{0, -1}}) {
    EXPECT_THROW(schedule::hierarchical(0, hosts, schedule::ring), Error);
  }
}

/// When the last rank is done, where only messages take time.
class Clockwork {
 public:
  Clockwork(std::vector<Schedule> by_rank, int inside, int across)
      : by_rank_(std::move(by_rank)),
        inside_(inside),
        across_(across),
        at_(by_rank_.size()),
        now_(by_rank_.size()) {}

  int run() {
    for (bool moved = true; moved;) {
      moved = false;
      for (std::size_t rank = 0; rank < by_rank_.size(); ++rank) {
        while (at_[rank] < by_rank_[rank].steps.size() && advance(rank)) moved = true;
      }
    }
    return *std::ranges::max_element(now_);
  }

 private:
  bool advance(std::size_t rank) {
    const Step& step = by_rank_[rank].steps[at_[rank]];
    const int self = static_cast<int>(rank);
    std::vector<int> peers;
    for (const Message& message : step.inside) peers.push_back(message.peer);
    for (const Message& message : step.receive) peers.push_back(message.peer);
    for (const int peer : peers) {
      if (arrivals_[{peer, self}].empty()) return false;
    }
    for (const int peer : peers) {
      now_[rank] = std::max(now_[rank], arrivals_[{peer, self}].front());
      arrivals_[{peer, self}].pop_front();
    }
    for (const Message& message : step.send) {
      const int takes = message.leg == Leg::inside_host ? inside_ : across_;
      arrivals_[{self, message.peer}].push_back(now_[rank] + takes);
    }
    ++at_[rank];
    return true;
  }

  std::vector<Schedule> by_rank_;
  int inside_, across_;
  std::vector<std::size_t> at_;
  std::vector<int> now_;
  std::map<std::pair<int, int>, std::deque<int>> arrivals_;
};

TEST(Hierarchical, NeighboursAreWaitedForAtTheBeginningAndTheEndOnly) {
  constexpr int kInside = 1;
  constexpr int kAcrossHosts = 10;
  for (const Across& across : kAcross) {
    for (int hosts = 2; hosts <= 8; ++hosts) {
      const int flat = Clockwork(all_ranks(across.make, hosts), kInside, kAcrossHosts).run();
      const std::vector<int> sizes(static_cast<std::size_t>(hosts), 4);
      const int made =
          Clockwork(all_ranks(blocks(sizes), across.make), kInside, kAcrossHosts).run();
      EXPECT_EQ(made, flat + 2 * kInside) << across.name << " on " << hosts << " hosts";
    }
  }
}

// Mistakes that the proof must find, in 2 hosts of 3 ranks and one of 2.

struct Mistake {
  const char* name;
  std::function<void(std::vector<Schedule>&)> make_it;
};

/// The first step of a rank that takes parts of its host.
Step& gathering(Schedule& schedule) {
  return *std::ranges::find_if(schedule.steps,
                               [](const Step& step) { return !step.inside.empty(); });
}

/// The first step of a rank that sends a part inside its host.
std::size_t giving(const Schedule& schedule) {
  const auto gives = [](const Step& step) {
    return step.action == Action::send_part && step.send.at(0).leg == Leg::inside_host;
  };
  return static_cast<std::size_t>(std::ranges::find_if(schedule.steps, gives) -
                                  schedule.steps.begin());
}

std::vector<Mistake> mistakes() {
  using All = std::vector<Schedule>;
  return {
      {"a part of the host is not asked for",
       [](All& all) { gathering(all[0]).inside.pop_back(); }},
      {"a part of the host is asked for twice",
       [](All& all) { gathering(all[0]).inside.push_back(gathering(all[0]).inside[0]); }},
      {"a part does not get to its holder",
       [](All& all) {
         all[1].steps.erase(all[1].steps.begin() + static_cast<std::ptrdiff_t>(giving(all[1])));
       }},
      {"a part gets to its holder for another chunk",
       [](All& all) { ++all[1].steps[giving(all[1])].chunk; }},
      {"the own part enters before the first",
       [](All& all) { gathering(all[1]).own_inside_after = -1; }},
      {"the own part enters nowhere", [](All& all) { gathering(all[1]).own_inside_after = 3; }},
      {"a part of the host travels as one of another host",
       [](All& all) { all[1].steps[giving(all[1])].send[0].leg = Leg::across_hosts; }},
      {"both ends take a part of the host for another's",
       [](All& all) {
         all[1].steps[giving(all[1])].send[0].leg = Leg::across_hosts;
         gathering(all[0]).inside[0].leg = Leg::across_hosts;
       }},
      {"hosts are counted, not ranks",
       [](All& all) {
         for (Schedule& schedule : all) {
           for (Step& step : schedule.steps) {
             for (auto* messages : {&step.receive, &step.send}) {
               for (Message& message : *messages) {
                 if (message.payload == Payload::partial) message.parts = (message.parts + 2) / 3;
               }
             }
           }
         }
       }},
      {"a result does not get to a neighbour",
       [](All& all) {
         all[2].steps.pop_back();
         for (Step& step : all[0].steps) {
           std::erase_if(step.send, [](const Message& message) {
             return message.peer == 2 && message.payload == Payload::result;
           });
         }
       }},
      {"a result is taken a second time",
       [](All& all) { all[2].steps.push_back(all[2].steps.back()); }},
      {"parts and results of a pair cross",
       [](All& all) {
         auto& steps = all[2].steps;
         std::swap(steps[giving(all[2])].chunk, steps[giving(all[2]) + 1].chunk);
       }},
  };
}

TEST(Hierarchical, TheProofFindsMistakes) {
  const Hosts hosts = blocks({3, 3, 2});
  for (const Mistake& mistake : mistakes()) {
    std::vector<Schedule> schedules = all_ranks(hosts, schedule::ring);
    mistake.make_it(schedules);
    EXPECT_NE(schedule::disprove_allreduce(schedules), "") << mistake.name;
  }
}

}  // namespace
}  // namespace cpdcomm::testing
