// The two halves of an all-reduce: reduce-scatter keeps its sum uncast, all-gather casts once.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "collective/sum_case.hpp"
#include "cpdcomm/codec.hpp"
#include "support/bits.hpp"
#include "support/reference_cast.hpp"

namespace cpdcomm::testing {
namespace {

using Values = std::vector<float>;

constexpr std::size_t kShare = 1003;

/// What a rank brings: a share for each rank.
Values brought_by(int rank, int ranks, unsigned seed = 5) {
  return gradients(kShare * static_cast<std::size_t>(ranks), seed + static_cast<unsigned>(rank));
}

float largest_of_all(int ranks) {
  float largest = 0;
  for (int rank = 0; rank < ranks; ++rank) {
    for (const float value : brought_by(rank, ranks)) largest = std::max(largest, std::fabs(value));
  }
  return largest;
}

CastOptions cast_for(Format wire, float largest, std::size_t world) {
  if (wire.is_fp32() || !wire.is_float()) return {};
  return {.shift = top_exponent(wire) - reference_exponent(largest, world), .saturate = true};
}

/// The sum of one rank's share in rank order, in FP32, of parts that are cast first.
Values summed(Format wire, int self, int ranks) {
  const CastOptions cast = cast_for(wire, largest_of_all(ranks), static_cast<std::size_t>(ranks));
  Values sum(kShare, 0.0f);
  for (int rank = 0; rank < ranks; ++rank) {
    const Values all = brought_by(rank, ranks);
    const auto share = std::span(all).subspan(static_cast<std::size_t>(self) * kShare, kShare);
    Values part(kShare);
    quantize(share, wire, part, cast);
    for (std::size_t i = 0; i < kShare; ++i) sum[i] += part[i];
  }
  for (float& value : sum) value = reference_cast(value, Format(), -cast.shift);
  return sum;
}

class Halves : public ::testing::TestWithParam<const char*> {
 protected:
  const Format wire_ = Format::parse(GetParam());
};

TEST_P(Halves, ReduceScatterKeepsTheSumAsItIs) {
  for (const int count : {1, 2, 3, 4}) {
    SCOPED_TRACE(count);
    Ranks ranks(count);
    ranks.run([&](Communicator& self) {
      const Values parts = brought_by(self.rank(), count);
      Values share(kShare, -1.0f);
      const Report report = self.reduce_scatter(
          parts.data(), DataType::fp32, {.data = share.data(), .count = kShare}, {.wire = wire_});
      EXPECT_TRUE(same_bits(share, summed(wire_, self.rank(), count)));
      EXPECT_FALSE(report.non_finite[0]);
      EXPECT_EQ(report.algorithm, Algorithm::direct);
      EXPECT_TRUE(same_bits(parts, brought_by(self.rank(), count)));
    });
  }
}

/// Tensor t of a share has the exponent of all its values, of all shares on all ranks.
TEST_P(Halves, ReduceScatterOfManyTensorsScalesEachByItself) {
  constexpr int kRanks = 3;
  const std::vector<std::size_t> ends{400, 400, 700, kShare};
  Ranks ranks(kRanks);
  ranks.run([&](Communicator& self) {
    Values parts = brought_by(self.rank(), kRanks);
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (i % kShare >= 400) parts[i] *= 0x1p-20f;
    }
    Values together(kShare, -1.0f);
    const Report report =
        self.reduce_scatter(parts.data(), DataType::fp32,
                            {.data = together.data(), .count = kShare}, ends, {.wire = wire_});
    EXPECT_EQ(report.non_finite, std::vector<bool>(ends.size(), false));
    // Each tensor in a call of its own.
    Values apart;
    std::size_t first = 0;
    for (const std::size_t end : ends) {
      Values some;
      for (int rank = 0; rank < kRanks; ++rank) {
        const std::size_t begin = static_cast<std::size_t>(rank) * kShare;
        some.insert(some.end(), parts.begin() + static_cast<std::ptrdiff_t>(begin + first),
                    parts.begin() + static_cast<std::ptrdiff_t>(begin + end));
      }
      Values share(end - first);
      self.reduce_scatter(some.data(), DataType::fp32,
                          {.data = share.data(), .count = share.size()}, {.wire = wire_});
      apart.insert(apart.end(), share.begin(), share.end());
      first = end;
    }
    EXPECT_TRUE(same_bits(together, apart));
  });
}

TEST_P(Halves, AllGatherCastsEachValueOnceForEveryRank) {
  for (const int count : {1, 2, 3, 4}) {
    SCOPED_TRACE(count);
    Ranks ranks(count);
    ranks.run([&](Communicator& self) {
      const auto mine_of = [&](int rank) {
        return gradients(kShare, 90 + static_cast<unsigned>(rank));
      };
      float largest = 0;
      for (int rank = 0; rank < count; ++rank) {
        for (const float value : mine_of(rank)) largest = std::max(largest, std::fabs(value));
      }
      const CastOptions cast = cast_for(wire_, largest, 1);
      Values wanted;
      for (int rank = 0; rank < count; ++rank) {
        Values values = mine_of(rank);
        quantize(values, wire_, values, cast);
        for (float& value : values) value = reference_cast(value, Format(), -cast.shift);
        wanted.insert(wanted.end(), values.begin(), values.end());
      }
      const Values mine = mine_of(self.rank());
      Values all(wanted.size(), -1.0f);
      self.allgather(mine.data(), {.data = all.data(), .count = all.size()}, {.wire = wire_});
      EXPECT_TRUE(same_bits(all, wanted));
    });
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, Halves, ::testing::Values("fp32", "bf16", "e4m3", "e3m0", "e5m2"),
                         [](const auto& test) { return std::string(test.param); });

TEST(Halves, OfBlocksAnchorThemAtEachShare) {
  const Format wire = Format::parse("bfp8");
  Ranks ranks(3);
  ranks.run([&](Communicator& self) {
    const Values parts = brought_by(self.rank(), 3);
    Values share(kShare);
    self.reduce_scatter(parts.data(), DataType::fp32, {.data = share.data(), .count = kShare},
                        {.wire = wire});
    EXPECT_TRUE(same_bits(share, summed(wire, self.rank(), 3)));
  });
}

AllreduceOptions stochastic(const char* wire, Accumulate accumulate) {
  AllreduceOptions options{.wire = Format::parse(wire),
                           .scaling = {Scaling::Kind::none},
                           .accumulate = accumulate,
                           .algorithm = Algorithm::direct,
                           .rounding = Rounding::stochastic};
  options.seed = 42;
  options.step = 7;
  return options;
}

/// They draw the random words that an all-reduce of the whole vector draws: a value's word goes by
/// its place there, not in its share.
TEST(Halves, RoundStochasticallyAsTheAllReduceThatTheyAreOf) {
  constexpr std::size_t kEqual = 1000;  // so that an all-reduce has the same chunks
  for (const char* wire : {"e5m2", "e3m0", "bf16", "bfp8:8"}) {
    for (const auto accumulate : {Accumulate::wide, Accumulate::rounded}) {
      const AllreduceOptions options = stochastic(wire, accumulate);
      if (accumulate == Accumulate::rounded && !options.wire.is_float()) continue;
      SCOPED_TRACE(::testing::Message() << wire << ", " << to_string(accumulate));
      Ranks ranks(4);
      ranks.run([&](Communicator& self) {
        const Values parts = gradients(4 * kEqual, 5 + static_cast<unsigned>(self.rank()));
        Values wanted = parts;
        self.allreduce(wanted, options);
        Values share(kEqual);
        self.reduce_scatter(parts.data(), DataType::fp32, {.data = share.data(), .count = kEqual},
                            options);
        Values all(4 * kEqual);
        self.allgather(share.data(), {.data = all.data(), .count = all.size()}, options);
        EXPECT_TRUE(same_bits(all, wanted));
      });
    }
  }
}

TEST(Halves, HaveRandomWordsOfTheirOwnForEachShare) {
  Ranks ranks(2);
  PerRank<Values> shares(2, Values(kShare));
  ranks.run([&](Communicator& self) {
    const Values same(2 * kShare, 1.1f);
    Values& share = shares[index_of(self)];
    self.reduce_scatter(same.data(), DataType::fp32, {.data = share.data(), .count = kShare},
                        stochastic("e5m2", Accumulate::wide));
  });
  EXPECT_FALSE(same_bits(shares[0], shares[1]));
}

TEST(Halves, OfARingAreSumsToo) {
  Ranks ranks(4);
  ranks.run([&](Communicator& self) {
    const Values parts = brought_by(self.rank(), 4);
    Values share(kShare);
    const Report report =
        self.reduce_scatter(parts.data(), DataType::fp32, {.data = share.data(), .count = kShare},
                            {.op = ReduceOp::average, .algorithm = Algorithm::ring});
    EXPECT_EQ(report.algorithm, Algorithm::ring);
    const Values wanted = summed(Format(), self.rank(), 4);
    for (std::size_t i = 0; i < kShare; ++i) {
      EXPECT_NEAR(share[i], wanted[i] / 4, 1e-6f * std::fabs(wanted[i]) + 1e-9f);
    }
  });
}

TEST(Halves, SayWhereSomethingIsNotFinite) {
  Ranks ranks(2);
  ranks.run([&](Communicator& self) {
    Values parts = brought_by(self.rank(), 2);
    if (self.rank() == 1) parts[5] = std::numeric_limits<float>::infinity();
    Values share(kShare);
    const Report report =
        self.reduce_scatter(parts.data(), DataType::fp32, {.data = share.data(), .count = kShare},
                            {.wire = Format::floating(4, 3)});
    EXPECT_TRUE(report.non_finite[0]);
    EXPECT_TRUE(std::isnan(share[100]));

    // Without scaling only one rank's share is touched, and all know it.
    const Report plain = self.reduce_scatter(parts.data(), DataType::fp32,
                                             {.data = share.data(), .count = kShare}, {});
    EXPECT_TRUE(plain.non_finite[0]);
    EXPECT_EQ(std::isinf(share[5]), self.rank() == 0);
  });
}

TEST(Halves, RefuseWhatTheyCannotDo) {
  Ranks ranks(2);
  const auto refused = [&](const AllreduceOptions& options, const std::string& words) {
    const auto outcomes = ranks.outcomes([&](Communicator& self) {
      const Values parts = brought_by(self.rank(), 2);
      Values share(kShare);
      self.reduce_scatter(parts.data(), DataType::fp32, {.data = share.data(), .count = kShare},
                          options);
    });
    for (const Outcome& outcome : outcomes) {
      EXPECT_TRUE(outcome.is(ErrorCode::invalid_argument)) << outcome;
      EXPECT_NE(outcome.message.find(words), std::string::npos) << outcome;
    }
  };
  refused({.algorithm = Algorithm::tree}, "by 'tree': allowed are automatic, direct and ring");
  refused({.wire = Format::parse("int8"), .accumulate = Accumulate::exact}, "accumulate 'exact'");
  refused({.wire = Format::floating(4, 3), .scaling = {Scaling::Kind::aps, 64}}, "'aps:64'");

  const auto uneven = ranks.outcomes([&](Communicator& self) {
    const Values mine(3);
    Values all(7);
    self.allgather(mine.data(), {.data = all.data(), .count = all.size()}, {});
  });
  EXPECT_NE(uneven[0].message.find("7 values: a multiple of the 2 ranks"), std::string::npos);

  const auto widened = ranks.outcomes([&](Communicator& self) {
    const std::vector<std::uint16_t> parts(6);
    Values share(3);
    self.reduce_scatter(parts.data(), DataType::bf16, {.data = share.data(), .count = 3},
                        {.op = ReduceOp::max});
  });
  EXPECT_NE(widened[0].message.find("bf16 into fp32"), std::string::npos) << widened[0];
}

TEST(Halves, MayBeInPlaceOfTheirOwnShareOnly) {
  Ranks ranks(2);
  ranks.run([&](Communicator& self) {
    Values parts = brought_by(self.rank(), 2);
    float* const own = parts.data() + index_of(self) * kShare;
    self.reduce_scatter(parts.data(), DataType::fp32, {.data = own, .count = kShare});
    EXPECT_TRUE(same_bits(Values(own, own + kShare), summed(Format(), self.rank(), 2)));
    self.allgather(own, {.data = parts.data(), .count = parts.size()}, {});
    EXPECT_TRUE(same_bits(Values(parts.begin(), parts.begin() + kShare), summed(Format(), 0, 2)));
    float* const other = parts.data() + (1 - index_of(self)) * kShare;
    const Outcome outcome = outcome_of([&] {
      self.reduce_scatter(parts.data(), DataType::fp32, {.data = other, .count = kShare});
    });
    EXPECT_NE(outcome.message.find("buffers of reduce_scatter overlap"), std::string::npos)
        << outcome;
  });
}

TEST(Halves, FindRanksThatDisagree) {
  Ranks ranks(2);
  const auto outcomes = ranks.outcomes([&](Communicator& self) {
    const Values parts = brought_by(self.rank(), 2);
    Values share(kShare);
    const std::size_t count = self.rank() == 0 ? kShare : kShare - 1;
    self.reduce_scatter(parts.data(), DataType::fp32, {.data = share.data(), .count = count}, {});
  });
  EXPECT_TRUE(outcomes[0].is(ErrorCode::mismatch)) << outcomes[0];
  EXPECT_TRUE(outcomes[1].is(ErrorCode::mismatch)) << outcomes[1];
}

TEST(HalvesOfTensors, EndsMustAscendToTheShare) {
  for (const std::vector<std::size_t>& ends : {std::vector<std::size_t>{5, 3, 10}, {5}, {5, 11}}) {
    Ranks ranks(2);
    const auto outcomes = ranks.outcomes([&](Communicator& self) {
      Values parts(20);
      Values share(10);
      self.reduce_scatter(parts.data(), DataType::fp32, {.data = share.data(), .count = 10}, ends,
                          {});
    });
    for (const Outcome& outcome : outcomes) {
      EXPECT_TRUE(outcome.is(ErrorCode::invalid_argument)) << outcome;
      EXPECT_NE(outcome.message.find("must ascend to 10"), std::string::npos) << outcome;
    }
  }
}

}  // namespace
}  // namespace cpdcomm::testing
