// Collectives whose messages go partly through shared memory, partly over a network.
#include <gtest/gtest.h>

#include "support/bits.hpp"
#include "support/random.hpp"
#include "support/sharing_ranks.hpp"

namespace cpdcomm::testing {
namespace {

/// Sums of all ranks of several sizes, by several algorithms.
std::vector<std::vector<float>> sums(Communicator& self) {
  std::vector<std::vector<float>> all;
  for (const Algorithm algorithm : {Algorithm::direct, Algorithm::ring, Algorithm::tree,
                                    Algorithm::halving_doubling, Algorithm::hierarchical}) {
    for (const std::size_t count : {1u, 1000u, 300'000u}) {
      std::vector<float> values(count);
      Random random(static_cast<unsigned>(self.rank()) + 1);
      for (float& value : values) value = static_cast<float>(random.below(1000)) * 0.37f;
      self.allreduce(values, {.wire = Format::floating(4, 3), .algorithm = algorithm});
      all.push_back(std::move(values));
    }
  }
  return all;
}

TEST(HostsCommunicators, GiveTheBitsOfThreadsOnHosts) {
  constexpr int kRanks = 4;
  Ranks threads(make_thread_communicators(kRanks, Ranks::patient(), 2));
  PerRank<std::vector<std::vector<float>>> wanted(kRanks);
  threads.run([&](Communicator& self) { wanted[index_of(self)] = sums(self); });
  Ranks ranks = make_sharing_ranks(2, 2, Ranks::patient());
  ranks.run([&](Communicator& self) {
    const auto got = sums(self);
    ASSERT_EQ(got.size(), 15u);
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_TRUE(same_bits(got[i], wanted[index_of(self)][i])) << i;
    }
  });
}

/// A test that hangs is red before its patience is at an end.
CommunicatorOptions options_in_segments(std::size_t segment_bytes) {
  return {.timeout = std::chrono::seconds(60), .segment_bytes = segment_bytes, .codec_threads = 1};
}

/// Short segments of many ranks are more messages than there are slots.
TEST(HostsCommunicators, OfManyHostsAndRanksDoNotRunOutOfSlots) {
  constexpr int kHosts = 8;
  constexpr int kOnHost = 4;
  Ranks ranks = make_sharing_ranks(kHosts, kOnHost, options_in_segments(1000));
  for (const Algorithm across : {Algorithm::direct, Algorithm::ring, Algorithm::tree}) {
    ranks.run([&](Communicator& self) {
      for (int call = 0; call < 3; ++call) {
        std::vector<float> values(100'000, 1.0f);
        AllreduceOptions options{.algorithm = Algorithm::hierarchical};
        options.across = across;
        self.allreduce(values, options);
        const std::vector<float> wanted(values.size(), kHosts * kOnHost);
        EXPECT_TRUE(same_bits(values, wanted)) << to_string(across) << " call " << call;
      }
    });
  }
}

/// What is left of calls that failed lies in slots, and must not keep the next call from having
/// any.
TEST(HostsCommunicators, SumAfterManyCallsThatOneRankRefused) {
  constexpr int kRanks = 4;
  constexpr int kRefused = 30;
  constexpr std::size_t kCount = 300'000;
  Ranks ranks = make_sharing_ranks(1, kRanks, options_in_segments(0));
  ranks.run([&](Communicator& self) {
    for (int call = 0; call < kRefused; ++call) {
      std::vector<float> values(kCount, 1.0f);
      AllreduceOptions options{.algorithm = Algorithm::direct};
      if (self.rank() == 0) options.emulate_nodes = -1;
      const Outcome outcome = outcome_of([&] { self.allreduce(values, options); });
      const bool refused_here = outcome.is(ErrorCode::invalid_argument);
      EXPECT_TRUE(self.rank() == 0 ? refused_here : outcome.is(ErrorCode::mismatch)) << outcome;
    }
    std::vector<float> values(kCount, 1.0f);
    self.allreduce(values, {.algorithm = Algorithm::ring});
    EXPECT_TRUE(same_bits(values, std::vector<float>(kCount, kRanks)));
  });
}

}  // namespace
}  // namespace cpdcomm::testing
