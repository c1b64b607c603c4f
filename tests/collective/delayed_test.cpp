// `delayed` scaling: the exponent of the call before, and no message ahead of the sum.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "collective/sum_case.hpp"
#include "support/bits.hpp"
#include "support/hosts_transport.hpp"
#include "support/reference_cast.hpp"

namespace cpdcomm::testing {
namespace {

using Values = std::vector<float>;

constexpr int kRanks = 4;
// Messages of the first call carry 2 bytes more than those of aps: here that moves no chunk.
constexpr std::size_t kCount = 2000;

/// Counts the messages that a rank sends.
class MessageCounter final : public WrappedTransport {
 public:
  MessageCounter(std::unique_ptr<Transport> inner, int& messages)
      : WrappedTransport(std::move(inner)), messages_(messages) {}

 private:
  transport::Request start_send(int peer, int channel, std::span<const std::byte> bytes) override {
    ++messages_;
    return WrappedTransport::start_send(peer, channel, bytes);
  }

  int& messages_;
};

class Delayed : public ::testing::TestWithParam<Algorithm> {
 protected:
  AllreduceOptions options(const char* wire = "e4m3") const {
    AllreduceOptions options{.wire = Format::parse(wire), .algorithm = GetParam()};
    options.scaling = {Scaling::Kind::delayed, 0};
    options.across = Algorithm::tree;
    options.inner.reset();
    return options;
  }

  static PerRank<Values> parts(unsigned seed, float factor = 1) {
    PerRank<Values> parts;
    for (unsigned rank = 0; rank < kRanks; ++rank) {
      parts.push_back(gradients(kCount, seed + rank));
      for (float& x : parts.back()) x *= factor;
    }
    return parts;
  }

  /// Sums, and checks that all ranks have the same result, memory and report.
  Values sum(const PerRank<Values>& parts, const AllreduceOptions& options) {
    PerRank<Values> results = parts;
    reports_.resize(kRanks);
    ranks_.run([&](Communicator& self) {
      const std::size_t rank = index_of(self);
      const Tensor tensor{
          .data = results[rank].data(), .count = kCount, .memory = &memories_[rank]};
      reports_[rank] = self.allreduce({&tensor, 1}, options);
    });
    for (std::size_t rank = 0; rank < kRanks; ++rank) {
      EXPECT_TRUE(same_bits(results[rank], results[0]));
      EXPECT_EQ(memories_[rank].known, memories_[0].known);
      EXPECT_EQ(memories_[rank].exponent, memories_[0].exponent);
      EXPECT_EQ(reports_[rank].saturated, reports_[0].saturated);
      EXPECT_EQ(reports_[rank].non_finite, reports_[0].non_finite);
    }
    return results[0];
  }

  Values sum_with_aps(const PerRank<Values>& parts, AllreduceOptions options) {
    options.scaling = {Scaling::Kind::aps, 0};
    PerRank<Values> results = parts;
    ranks_.run([&](Communicator& self) { self.allreduce(results[index_of(self)], options); });
    return results[0];
  }

  static int exponent_of(const PerRank<Values>& parts) {
    float largest = 0;
    for (const Values& values : parts) {
      for (const float x : values) largest = std::max(largest, std::abs(x));
    }
    return reference_exponent(largest, kRanks);
  }

  Ranks ranks_{make_host_communicators({0, 1, 0, 1}, Ranks::patient(300))};
  PerRank<ScaleMemory> memories_{kRanks};
  PerRank<Report> reports_;
};

INSTANTIATE_TEST_SUITE_P(, Delayed,
                         ::testing::Values(Algorithm::direct, Algorithm::ring, Algorithm::tree,
                                           Algorithm::halving_doubling, Algorithm::hierarchical),
                         [](const auto& test) { return to_string(test.param); });

TEST_P(Delayed, FirstCallIsThatOfAps) {
  for (const char* wire : {"e4m3", "e3m0", "e2m1fn", "bf16"}) {
    for (const Accumulate accumulate : {Accumulate::wide, Accumulate::rounded, Accumulate::kahan}) {
      memories_.assign(kRanks, {});
      AllreduceOptions asked = options(wire);
      asked.accumulate = accumulate;
      const PerRank<Values> mine = parts(1);
      EXPECT_TRUE(same_bits(sum(mine, asked), sum_with_aps(mine, asked)));
      EXPECT_TRUE(memories_[0].known);
      EXPECT_EQ(memories_[0].exponent, exponent_of(mine));
      EXPECT_EQ(reports_[0].saturated, std::vector<bool>{false});
    }
  }
}

/// Values whose sums with a shift are what those of others with the same exponent are: the second
/// call's own exponent is not used.
TEST_P(Delayed, LaterCallsUseTheExponentOfTheCallBefore) {
  const PerRank<Values> first = parts(1);
  sum(first, options());
  PerRank<Values> smaller = parts(20, 0x1p-4f);
  const Values got = sum(smaller, options());
  EXPECT_EQ(memories_[0].exponent, exponent_of(smaller));
  EXPECT_EQ(reports_[0].saturated, std::vector<bool>{false});
  // What aps does, made to take the same exponent by one large value that is not compared.
  smaller[3][kCount - 1] = std::ldexp(1.0f, exponent_of(first) - 2);
  ASSERT_EQ(exponent_of(smaller), exponent_of(first));
  const Values wanted = sum_with_aps(smaller, options());
  EXPECT_TRUE(same_bits(std::span(got).first(kCount - 1), std::span(wanted).first(kCount - 1)));
}

TEST_P(Delayed, LargerValuesSaturateAndThatIsToldOnce) {
  sum(parts(1), options());
  PerRank<Values> larger = parts(1);
  larger[2][77] = 0x1p20f;
  const Values got = sum(larger, options());
  EXPECT_EQ(reports_[0].saturated, std::vector<bool>{true});
  EXPECT_EQ(reports_[0].non_finite, std::vector<bool>{false});
  EXPECT_GT(got[77], 0.0f);
  EXPECT_LT(got[77], 64.0f);
  EXPECT_EQ(memories_[0].exponent, 22);  // of 2^20 times four ranks
  EXPECT_NEAR(sum(larger, options())[77], 0x1p20f, 0x1p16f);
  EXPECT_EQ(reports_[0].saturated, std::vector<bool>{false});
}

TEST_P(Delayed, WhatIsNotFiniteMakesAllNanAndIsForgotten) {
  for (const float spoiler :
       {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    for (std::size_t bringer = 0; bringer < kRanks; ++bringer) {
      memories_.assign(kRanks, {});
      PerRank<Values> spoiled = parts(1);
      spoiled[bringer][5 + 400 * bringer] = spoiler;
      for (const bool first : {true, false}) {
        if (!first) sum(parts(1), options());
        const ScaleMemory before = memories_[0];
        EXPECT_TRUE(same_bits(sum(spoiled, options()), Values(kCount, value_of(0x7fc00000u))));
        EXPECT_EQ(reports_[0].non_finite, std::vector<bool>{true});
        EXPECT_EQ(memories_[0].known, before.known);
        EXPECT_EQ(memories_[0].exponent, before.exponent);
      }
    }
  }
}

TEST_P(Delayed, AfterZerosTheNextCallIsAFirstOne) {
  sum(parts(1), options());
  const PerRank<Values> zeros(kRanks, Values(kCount, 0.0f));
  EXPECT_TRUE(same_bits(sum(zeros, options()), zeros[0]));
  EXPECT_FALSE(memories_[0].known);
  const PerRank<Values> mine = parts(30, 0x1p-20f);
  EXPECT_TRUE(same_bits(sum(mine, options()), sum_with_aps(mine, options())));
}

TEST_P(Delayed, NeedsNoMessageAheadOfTheSum) {
  PerRank<int> messages(kRanks, 0);
  std::vector<Communicator> communicators;
  for (auto& transport : transport::make_thread_transports(kRanks, 2)) {
    const auto rank = static_cast<std::size_t>(transport->rank());
    communicators.emplace_back(
        std::make_unique<MessageCounter>(std::move(transport), messages[rank]));
  }
  Ranks ranks(std::move(communicators));
  const auto count = [&](Scaling::Kind kind, std::uint64_t& bytes) {
    AllreduceOptions asked = options();
    asked.scaling.kind = kind;
    const PerRank<int> before = messages;
    PerRank<Values> mine = parts(1);
    PerRank<Report> reports(kRanks);
    ranks.run([&](Communicator& self) {
      const std::size_t rank = index_of(self);
      const Tensor tensor{.data = mine[rank].data(), .count = kCount, .memory = &memories_[rank]};
      reports[rank] = self.allreduce({&tensor, 1}, asked);
    });
    bytes = reports[1].wire_bytes;
    return messages[1] - before[1];
  };
  std::uint64_t plain = 0;
  std::uint64_t scaled = 0;
  std::uint64_t first = 0;
  std::uint64_t later = 0;
  const int unscaled = count(Scaling::Kind::none, plain);
  EXPECT_GT(count(Scaling::Kind::aps, scaled), unscaled);
  EXPECT_GT(count(Scaling::Kind::delayed, first), unscaled);
  EXPECT_EQ(count(Scaling::Kind::delayed, later), unscaled);
  EXPECT_LE(later, plain + 2 * static_cast<std::uint64_t>(unscaled));  // an exponent each
  EXPECT_GT(later, plain);
}

TEST(DelayedCalls, WithMemoriesThatDifferAreAMismatch) {
  Ranks ranks(2);
  const auto outcomes = ranks.outcomes([&](Communicator& self) {
    ScaleMemory memory{true, static_cast<std::int16_t>(self.rank())};
    Values values(10, 1.0f);
    const Tensor tensor{.data = values.data(), .count = 10, .memory = &memory};
    self.allreduce({&tensor, 1},
                   {.wire = Format::parse("e4m3"), .scaling = {Scaling::Kind::delayed, 0}});
  });
  for (const Outcome& outcome : outcomes) EXPECT_TRUE(outcome.is(ErrorCode::mismatch)) << outcome;
}

}  // namespace
}  // namespace cpdcomm::testing
