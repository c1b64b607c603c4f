// Ranks that leave in good order: they are missed at once by those who wait for them, and by nobody
// else.
#include <gtest/gtest.h>

#include <chrono>
#include <optional>

#include "support/bits.hpp"
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

}  // namespace
}  // namespace cpdcomm::testing
