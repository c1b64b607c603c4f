// Collectives over UCX give the bits that ranks in one process give.
#include <gtest/gtest.h>

#include "cpdcomm/ucx.hpp"
#include "support/bits.hpp"
#include "support/collectives.hpp"
#include "support/patterns.hpp"
#include "support/ranks.hpp"
#include "ucx/ranks.hpp"

namespace cpdcomm::testing {
namespace {

/// Over UCX alone, although all ranks are on one host.
std::vector<Communicator> over_ucx(int ranks, const UcxOptions& ucx) {
  CommunicatorOptions options = Ranks::patient();
  options.shared_memory = false;
  return connect_all(
      ranks, [&](Bootstrap& bootstrap) { return make_ucx_communicator(bootstrap, options, ucx); });
}

/// Ranks over UCX that end at the same time, for each waits a while for its peers.
class UcxRanks : public Ranks {
 public:
  explicit UcxRanks(int ranks, const UcxOptions& ucx = {}) : Ranks(over_ucx(ranks, ucx)) {}
  ~UcxRanks() {
    run([](Communicator& own) { const Communicator ended = std::move(own); });
  }
};

/// Every rank's result. What `automatic` takes may differ from network to network.
std::vector<std::vector<float>> sums(Ranks& ranks, std::size_t count, AllreduceOptions options) {
  if (options.algorithm == Algorithm::automatic) options.algorithm = Algorithm::direct;
  std::vector<std::vector<float>> values(static_cast<std::size_t>(ranks.size()));
  ranks.run([&](Communicator& own) {
    auto& mine = values[index_of(own)];
    mine = gradients(count, static_cast<unsigned>(own.rank()));
    own.allreduce(mine, options);
  });
  return values;
}

void expect_sums_of_threads(Ranks& ranks, const AllreduceOptions& options) {
  Ranks threads(ranks.size());
  for (const std::size_t count : {std::size_t{1}, std::size_t{1000}, std::size_t{200001}}) {
    const auto wanted = sums(threads, count, options);
    const auto got = sums(ranks, count, options);
    for (std::size_t rank = 0; rank < got.size(); ++rank) {
      EXPECT_TRUE(same_bits(got[rank], wanted[rank]))
          << options.wire.to_string() << ", " << count << " values, rank " << rank;
    }
  }
}

class UcxAllreduce : public ::testing::TestWithParam<const char*> {};

TEST_P(UcxAllreduce, GivesTheBitsOfThreads) {
  for (const int size : {2, 3, 4}) {
    UcxRanks ranks(size);
    for (const Algorithm algorithm : {Algorithm::direct, Algorithm::ring}) {
      expect_sums_of_threads(ranks, {.wire = Format::parse(GetParam()), .algorithm = algorithm});
    }
  }
}

std::string print_wire(const ::testing::TestParamInfo<const char*>& test) { return test.param; }

INSTANTIATE_TEST_SUITE_P(Formats, UcxAllreduce,
                         ::testing::Values("fp32", "e4m3", "e3m0", "bfp8", "int4", "sign"),
                         print_wire);

TEST(UcxSharedMemory, GivesTheBitsOfThreads) {
  UcxRanks ranks(3, {.report_failures = false});
  for (const char* const wire : {"fp32", "e4m3"}) {
    expect_sums_of_threads(ranks, {.wire = Format::parse(wire)});
  }
}

TEST(UcxCollectives, BroadcastGatherAndWait) {
  UcxRanks ranks(3);
  ranks.run([](Communicator& own) {
    std::vector<std::byte> bytes(100000, static_cast<std::byte>(own.rank()));
    own.broadcast(bytes, 2);
    EXPECT_EQ(bytes, std::vector<std::byte>(100000, std::byte{2}));
    const auto mine = static_cast<std::byte>(10 + own.rank());
    std::vector<std::byte> all(3);
    own.allgather({&mine, 1}, all);
    EXPECT_EQ(all, (std::vector<std::byte>{std::byte{10}, std::byte{11}, std::byte{12}}));
    own.barrier();
  });
}

TEST(UcxMismatch, IsFoundByAllAndForgotten) {
  UcxRanks ranks(3);
  for (int round = 0; round < 20; ++round) {
    const auto outcomes = ranks.outcomes([&](Communicator& own) {
      std::vector<float> values(own.rank() == round % 3 ? 400000 : 300000, 1.0f);
      own.allreduce(values);
    });
    for (const Outcome& outcome : outcomes) {
      EXPECT_TRUE(outcome.is(ErrorCode::mismatch)) << "round " << round << ": " << outcome;
    }
    ranks.run([](Communicator& own) {
      std::vector<float> values(1000, 1.0f);
      own.allreduce(values);
      EXPECT_TRUE(same_bits(values, std::vector<float>(1000, 3.0f)));
    });
  }
}

TEST(UcxCommunicators, LiveBesideEachOther) {
  UcxRanks first(2);
  {
    UcxRanks second(3);
    expect_sums_of_threads(second, {});
    expect_sums_of_threads(first, {});
  }
  expect_sums_of_threads(first, {});
}

TEST(UcxFailure, OfARankInPeaceIsKnownAtOnce) {
  std::vector<Communicator> ranks = over_ucx(2, {});
  { const Communicator gone = std::move(ranks[1]); }
  std::vector<float> values(10, 1.0f);
  const Outcome outcome = outcome_of([&] { ranks[0].allreduce(values); });
  EXPECT_TRUE(outcome.is(ErrorCode::peer_failed)) << outcome;
  EXPECT_NE(outcome.message.find("rank 1 has left"), std::string::npos) << outcome;
}

TEST(UcxCollectives, AreRight) {
  for (const int size : {1, 2, 4}) {
    SCOPED_TRACE(size);
    UcxRanks ranks(size);
    ranks.run([](Communicator& self) {
      for (const std::size_t count : {0u, 1u, 1000u, 70'000u}) check_collectives(self, count);
    });
  }
}

}  // namespace
}  // namespace cpdcomm::testing
