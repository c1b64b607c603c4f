// A call may ask for memory, its segments and messages may not: many segments ask for as much as
// few. In a program of its own, because it takes the place of operator new.
#include <gtest/gtest.h>

#include <algorithm>
#include <barrier>
#include <climits>

#include "support/counted_allocations.hpp"
#include "support/ranks.hpp"

namespace cpdcomm::testing {
namespace {

constexpr int kRanks = 4;
constexpr std::size_t kSegment = 1024;

/// Allocations of all ranks in a call on one tensor whose chunks have so many segments.
///
/// How far ahead a rank runs, and with it the memory that is under way, is a matter of chance: the
/// least of so many calls counts, or the first that has no more than is enough. A rank makes all
/// of them on one thread, which keeps its scratch memory.
int least_allocations(Ranks& ranks, std::size_t segments, const AllreduceOptions& options,
                      int calls, int enough) {
  const auto bits = static_cast<std::size_t>(options.wire.code_bits());
  const std::size_t count = kRanks * segments * kSegment * 8 / bits;
  int before = 0;
  int least = INT_MAX;
  const auto look = [&, look_after = false]() mutable noexcept {
    if (look_after) least = std::min(least, allocations - before);
    look_after = !look_after;
    before = allocations;
  };
  std::barrier all_here(kRanks, look);
  ranks.run([&](Communicator& self) {
    std::vector<float> values(count, 1.0f);
    ScaleMemory memory;
    const Tensor tensor{.data = values.data(), .count = count, .memory = &memory};
    for (int call = 0; call < calls && least > enough; ++call) {
      all_here.arrive_and_wait();
      self.allreduce({&tensor, 1}, options);
      all_here.arrive_and_wait();
    }
  });
  return least;
}

struct Case {
  const char* name;
  const char* wire;
  Accumulate accumulate;
  Scaling scaling = {};
};

class Allocations : public ::testing::TestWithParam<Case> {};

constexpr Scaling kGroups{Scaling::Kind::aps, 512};
constexpr Scaling kDelayed{Scaling::Kind::delayed, 0};

INSTANTIATE_TEST_SUITE_P(, Allocations,
                         ::testing::Values(Case{"wide", "e4m3", Accumulate::wide},
                                           Case{"groups", "e4m3", Accumulate::wide, kGroups},
                                           Case{"delayed", "e4m3", Accumulate::wide, kDelayed},
                                           Case{"fp32", "fp32", Accumulate::wide},
                                           Case{"kahan", "e4m3", Accumulate::kahan},
                                           Case{"rounded", "e3m0", Accumulate::rounded},
                                           Case{"blocks", "bfp8:64", Accumulate::wide},
                                           Case{"exact", "bfp8:64", Accumulate::exact},
                                           Case{"majority", "sign", Accumulate::majority}),
                         [](const auto& test) { return std::string(test.param.name); });

TEST_P(Allocations, AreThoseOfACallNotOfItsSegments) {
  for (const int threads : {1, 3}) {
    CommunicatorOptions communicator_options = Ranks::patient(kSegment);
    communicator_options.codec_threads = threads;
    Ranks ranks(make_thread_communicators(kRanks, communicator_options, 2));
    for (const Algorithm algorithm : {Algorithm::direct, Algorithm::ring, Algorithm::tree,
                                      Algorithm::halving_doubling, Algorithm::hierarchical}) {
      SCOPED_TRACE(::testing::Message() << to_string(algorithm) << ", " << threads << " threads");
      AllreduceOptions options{.wire = Format::parse(GetParam().wire)};
      options.scaling = GetParam().scaling;
      options.accumulate = GetParam().accumulate;
      options.algorithm = algorithm;
      options.across = Algorithm::direct;
      const int few = least_allocations(ranks, 4, options, 30, 0);
      EXPECT_GT(few, 0);  // they are seen
      EXPECT_LE(least_allocations(ranks, 40, options, 300, few), few);
    }
  }
}

}  // namespace
}  // namespace cpdcomm::testing
