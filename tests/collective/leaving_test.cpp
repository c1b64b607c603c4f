// Ranks that leave in good order: they are missed at once by those who wait for them, and by nobody
// else.
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <optional>

#include "support/bits.hpp"
#include "support/in_a_fork.hpp"
#include "support/sharing_ranks.hpp"

namespace cpdcomm::testing {
namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;
using Values = std::vector<float>;

enum class Network { threads, shared_memory };

Ranks make_ranks(Network network, int ranks) {
  if (network == Network::threads) return Ranks(ranks);
  return make_sharing_ranks(1, ranks, Ranks::patient());
}

void leave(Communicator& self) { const Communicator gone = std::move(self); }

struct Setting {
  Network network;
  Algorithm algorithm;
};

class Leaving : public ::testing::TestWithParam<Setting> {
 protected:
  AllreduceOptions options() const {
    return {.wire = Format::parse("e4m3"), .algorithm = GetParam().algorithm};
  }
};

TEST_P(Leaving, IsAnErrorAtOnceForThoseWhoWait) {
  for (const std::size_t count : {3u, 100'000u}) {
    SCOPED_TRACE(count);
    Ranks ranks = make_ranks(GetParam().network, 4);
    const auto begin = Clock::now();
    PerRank<Outcome> outcomes(4);
    ranks.run([&](Communicator& self) {
      Values values(count, 1.0f);
      const std::size_t rank = index_of(self);
      if (rank == 2) {
        std::this_thread::sleep_for(50ms);
      } else {
        outcomes[rank] = outcome_of([&] { self.allreduce(values, options()); });
      }
      leave(self);
    });
    EXPECT_LT(Clock::now() - begin, 30s);  // of two minutes
    for (const std::size_t rank : {0u, 1u, 3u}) {
      const Outcome& outcome = outcomes[rank];
      EXPECT_TRUE(outcome.is(ErrorCode::peer_failed)) << outcome;
      EXPECT_NE(outcome.message.find("rank 2 has left: its communicator is gone"),
                std::string::npos)
          << outcome;
    }
  }
}

TEST_P(Leaving, AsSoonAsTheSumIsThereHarmsNobody) {
  for (int last = 0; last < 3; ++last) {
    Ranks ranks = make_ranks(GetParam().network, 3);
    ranks.run([&](Communicator& self) {
      Values values(100'000, 1.0f);
      if (self.rank() == last) std::this_thread::sleep_for(20ms);
      self.allreduce(values, options());
      leave(self);
      EXPECT_TRUE(same_bits(values, Values(values.size(), 3.0f)));
    });
  }
}

INSTANTIATE_TEST_SUITE_P(All, Leaving,
                         ::testing::Values(Setting{Network::threads, Algorithm::direct},
                                           Setting{Network::threads, Algorithm::ring},
                                           Setting{Network::threads, Algorithm::tree},
                                           Setting{Network::shared_memory, Algorithm::direct},
                                           Setting{Network::shared_memory, Algorithm::ring},
                                           Setting{Network::shared_memory, Algorithm::tree},
                                           Setting{Network::shared_memory,
                                                   Algorithm::halving_doubling}),
                         [](const auto& test) {
                           const bool shared = test.param.network == Network::shared_memory;
                           return to_string(test.param.algorithm) +
                                  (shared ? "_shared" : "_threads");
                         });

class LeavingRoot : public ::testing::TestWithParam<Network> {};

/// What it sent lies there for those who come later; nor is it missed by a rank that waits for
/// another one meanwhile.
TEST_P(LeavingRoot, IsHeardByAll) {
  Ranks ranks = make_ranks(GetParam(), 4);
  ranks.run([](Communicator& self) {
    std::vector<std::byte> bytes(16, static_cast<std::byte>(self.rank() + 1));
    if (self.rank() == 1 || self.rank() == 2) std::this_thread::sleep_for(2500ms);
    self.broadcast(bytes, 0);
    leave(self);
    EXPECT_EQ(bytes, std::vector<std::byte>(16, std::byte{1}));
  });
}

INSTANTIATE_TEST_SUITE_P(All, LeavingRoot,
                         ::testing::Values(Network::threads, Network::shared_memory),
                         [](const auto& test) {
                           return test.param == Network::threads ? "threads" : "shared";
                         });

/// A rank that has left keeps no slot of its peers: a call that it does not take part in, and that
/// fails, leaves them all they need to end soon.
TEST(LeavingRank, GivesBackWhatItHasNotRead) {
  Ranks ranks = make_ranks(Network::shared_memory, 2);
  const auto begin = Clock::now();
  leave(ranks[1]);
  const Outcome outcome = outcome_of([&] {
    std::vector<std::byte> bytes(1'000'000);
    ranks[0].broadcast(bytes, 0);
  });
  EXPECT_TRUE(outcome.is(ErrorCode::peer_failed)) << outcome;
  leave(ranks[0]);
  EXPECT_LT(Clock::now() - begin, 1500ms) << "it waited for a peer that is gone";
}

class LeavingFork : public ::testing::TestWithParam<Network> {
 protected:
  void SetUp() override {
    if (!kForksCanBeWatched) GTEST_SKIP() << "the thread sanitizer follows no fork of threads";
  }

  static void expect_sums(Ranks& ranks) {
    ranks.run([](Communicator& self) {
      Values values(100'000, 1.0f);
      self.iallreduce(std::vector{Tensor{.data = values.data(), .count = values.size()}}).wait();
      EXPECT_TRUE(same_bits(values, Values(values.size(), static_cast<float>(self.size()))));
    });
  }
};

/// What belongs to a process is torn down in that process alone.
TEST_P(LeavingFork, IsNoticedByNobody) {
  Ranks ranks = make_ranks(GetParam(), 3);
  expect_sums(ranks);  // with a thread for it
  std::vector<std::byte> bytes(8);
  std::optional<Transfer> under_way(ranks[0].irecv(bytes, 1));  // and another
  const int status = in_a_fork([&] {
    under_way.reset();
    for (int rank = 0; rank < ranks.size(); ++rank) leave(ranks[rank]);
    return 7;
  });
  EXPECT_EQ(status, 7);
  expect_sums(ranks);
  ranks[1].isend(bytes, 0).wait();
  EXPECT_EQ(under_way->wait(), 1);
}

TEST_P(LeavingFork, CannotTakeItsParentsPart) {
  Ranks ranks = make_ranks(GetParam(), 2);
  expect_sums(ranks);
  std::vector<std::byte> bytes(8);
  Transfer under_way = ranks[0].irecv(bytes, 1);
  const int status = in_a_fork([&] {
    Communicator& own = ranks[0];
    Values values(9);
    const std::function<void()> calls[] = {
        [&] { own.allreduce(values); }, [&] { own.barrier(); },
        [&] { own.isend(bytes, 1); },   [&] { own.refuse("why"); },
        [&] { under_way.wait(); },      [&] { static_cast<void>(under_way.done()); },
    };
    int refused = 0;
    for (const auto& call : calls) {
      const Outcome outcome = outcome_of(call);
      const bool says_why = outcome.message.find("is a fork") != std::string::npos;
      if (outcome.is(ErrorCode::unsupported) && says_why) ++refused;
    }
    own.abort();
    return refused;
  });
  EXPECT_EQ(status, 6);
  expect_sums(ranks);
  ranks[1].isend(bytes, 0).wait();
}

/// A group of its own is as good in a fork as anywhere.
TEST_P(LeavingFork, CanHaveAGroupOfItsOwn) {
  Ranks ranks = make_ranks(GetParam(), 2);
  expect_sums(ranks);
  const int status = in_a_fork([&] {
    Ranks own = make_ranks(GetParam(), 2);
    expect_sums(own);
    return HasFailure() ? 1 : 0;
  });
  EXPECT_EQ(status, 0);
  expect_sums(ranks);
}

INSTANTIATE_TEST_SUITE_P(All, LeavingFork,
                         ::testing::Values(Network::threads, Network::shared_memory),
                         [](const auto& test) {
                           return test.param == Network::threads ? "threads" : "shared";
                         });

}  // namespace
}  // namespace cpdcomm::testing
