// More threads that encode and decode change no bit, and fail like one.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "collective/sum_case.hpp"
#include "support/bits.hpp"
#include "support/hosts_transport.hpp"

namespace cpdcomm::testing {
namespace {

using Values = std::vector<float>;

CommunicatorOptions with_threads(int threads, std::size_t segment_bytes = 300) {
  CommunicatorOptions options = Ranks::patient(segment_bytes);
  options.codec_threads = threads;
  return options;
}

struct Case {
  const char* name;
  const char* wire;
  Accumulate accumulate;
  std::size_t group = 0;
  Rounding rounding = Rounding::nearest_even;
};

class CodecThreads : public ::testing::TestWithParam<Case> {
 protected:
  AllreduceOptions options(Algorithm algorithm) const {
    AllreduceOptions options{.wire = Format::parse(GetParam().wire),
                             .accumulate = GetParam().accumulate};
    if (GetParam().group != 0) options.scaling = {Scaling::Kind::aps, GetParam().group};
    options.algorithm = algorithm;
    options.across = Algorithm::ring;
    options.rounding = GetParam().rounding;
    return options;
  }
};

INSTANTIATE_TEST_SUITE_P(, CodecThreads,
                         ::testing::Values(Case{"wide", "e4m3", Accumulate::wide},
                                           Case{"groups", "e3m0", Accumulate::wide, 64},
                                           Case{"rounded", "e4m3", Accumulate::rounded},
                                           Case{"kahan", "e4m3", Accumulate::kahan},
                                           Case{"stochastic", "e5m2", Accumulate::wide, 0,
                                                Rounding::stochastic},
                                           Case{"blocks", "mxfp4", Accumulate::wide},
                                           Case{"exact", "bfp8:64", Accumulate::exact},
                                           Case{"majority", "sign", Accumulate::majority}),
                         [](const auto& test) { return std::string(test.param.name); });

TEST_P(CodecThreads, ChangeNoBit) {
  const std::vector<Parts> parts = parts_of_ranks(4, 1, 6007, 3);
  for (const Algorithm algorithm : {Algorithm::direct, Algorithm::ring, Algorithm::tree,
                                    Algorithm::halving_doubling, Algorithm::hierarchical}) {
    std::vector<Values> wanted;
    for (const int threads : {1, 2, 3, 5}) {
      SCOPED_TRACE(::testing::Message() << to_string(algorithm) << ", " << threads << " threads");
      Ranks ranks(make_host_communicators({0, 0, 1, 0}, with_threads(threads)));
      for (int turn = 0; turn < 3; ++turn) {
        const auto got = allreduce_parts(ranks, parts, options(algorithm));
        if (wanted.empty()) wanted = {got[0]};
        for (const Values& of_rank : got) ASSERT_TRUE(same_bits(of_rank, wanted[0]));
      }
    }
  }
}

TEST(CodecThreadsOfFeedback, ChangeNoResidual) {
  std::vector<Values> wanted;
  for (const int threads : {1, 2, 3, 5}) {
    Ranks ranks(3, with_threads(threads));
    PerRank<Values> residuals(3, Values(6007, 0.0f));
    for (int step = 0; step < 3; ++step) {
      ranks.run([&](Communicator& self) {
        Values values = gradients(6007, static_cast<unsigned>(10 * step + self.rank()));
        const Tensor tensor{.data = values.data(),
                            .count = values.size(),
                            .residual = residuals[index_of(self)].data()};
        self.allreduce({&tensor, 1}, {.wire = Format::parse("e3m0"), .algorithm = Algorithm::tree});
      });
    }
    if (wanted.empty()) wanted = residuals;
    for (std::size_t rank = 0; rank < 3; ++rank) {
      ASSERT_TRUE(same_bits(residuals[rank], wanted[rank])) << threads << " threads";
    }
  }
}

TEST(CodecThreadsOfFailures, PeersThatRefuseInTheMiddleEndTheCallAndTheNextOneWorks) {
  for (const int threads : {2, 3, 5}) {
    Ranks ranks(3, with_threads(threads, 64));
    for (int turn = 0; turn < 8; ++turn) {
      const auto outcomes = ranks.outcomes([&](Communicator& self) {
        Values values(20000, 1.0f);
        if (self.rank() == turn % 3) {
          std::this_thread::sleep_for(std::chrono::microseconds(100 * (turn % 5)));
          self.refuse("not today");
          return;
        }
        self.allreduce(values, {.wire = Format::parse("e4m3")});
      });
      for (int rank = 0; rank < 3; ++rank) {
        const Outcome& outcome = outcomes[static_cast<std::size_t>(rank)];
        if (rank == turn % 3) {
          EXPECT_FALSE(outcome.code) << outcome;
        } else {
          EXPECT_TRUE(outcome.is(ErrorCode::mismatch)) << outcome;
          EXPECT_NE(outcome.message.find("not today"), std::string::npos) << outcome;
        }
      }
      ranks.run([&](Communicator& self) {
        Values values(5000, 1.0f);
        self.allreduce(values, {.wire = Format::parse("e4m3")});
        EXPECT_EQ(values[4999], 3.0f);
      });
    }
  }
}

TEST(CodecThreadsOfFailures, ACallIsAbortedWhileTheyWork) {
  Ranks ranks(2, with_threads(3, 64));
  std::atomic<bool> entered = false;
  const auto outcomes = ranks.outcomes([&](Communicator& self) {
    Values values(2'000'000, 1.0f);
    std::thread other;
    if (self.rank() == 0) {
      other = std::thread([&] {
        while (!entered) std::this_thread::yield();
        self.abort();
      });
    }
    entered = true;
    const Outcome outcome =
        outcome_of([&] { self.allreduce(values, {.wire = Format::parse("e4m3")}); });
    if (other.joinable()) other.join();
    EXPECT_TRUE(outcome.is(ErrorCode::peer_failed)) << outcome;
  });
  for (const Outcome& outcome : outcomes) EXPECT_FALSE(outcome.code) << outcome;
}

#ifndef CPDCOMM_LIGHT_TESTS  // sanitizers take more memory than a limit can leave them
/// Ends the process: well if a rank with many threads sums where memory is left for few.
void sum_with_few_threads_left() {
  std::uint64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  const std::uint64_t used = pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  const rlimit limit{used + (std::uint64_t{400} << 20), RLIM_INFINITY};
  setrlimit(RLIMIT_AS, &limit);
  auto communicators = make_thread_communicators(1, with_threads(256));
  Values values(20000, 1.0f);
  communicators[0].allreduce(values, {.wire = Format::parse("e4m3")});
  std::exit(values == Values(20000, 1.0f) ? 0 : 1);
}

TEST(CodecThreadsOfCommunicators, AreFewerWhereThereAreNoMore) {
  EXPECT_EXIT(sum_with_few_threads_left(), ::testing::ExitedWithCode(0), "");
}
#endif

TEST(CodecThreadsOfCommunicators, HaveALimit) {
  for (const int wrong : {-1, 257}) {
    EXPECT_TRUE(outcome_of([&] {
                  make_thread_communicators(1, {.codec_threads = wrong});
                }).is(ErrorCode::invalid_argument));
  }
}

}  // namespace
}  // namespace cpdcomm::testing
