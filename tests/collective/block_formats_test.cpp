// Formats with blocks, and the fn variants: sums equal those of whole tensors' public casts.
#include <gtest/gtest.h>

#include <cmath>

#include "collective/chunks.hpp"
#include "collective/sum_case.hpp"
#include "cpdcomm/codec.hpp"
#include "support/bits.hpp"

namespace cpdcomm::testing {
namespace {

using Values = std::vector<float>;

const char* const kNames[] = {"bfp8",      "bfp3:8",    "bfp11:1032", "mxfp8e4m3", "mxfp8e5m2",
                              "mxfp6e3m2", "mxfp6e2m3", "mxfp4",      "mxint8",    "int8",
                              "int4:24",   "sign",      "sign:16"};

Values cast(Values values, Format wire) {
  quantize(values, wire, values);
  return values;
}

/// The `wide` sum of whole tensors, from `first` on in the order of the hops or by rank.
Values sum_of(const std::vector<Parts>& by_rank, Format wire, bool by_hops, std::size_t first) {
  Values total(by_rank[0][0].size(), 0.0f);
  for (std::size_t k = 0; k < by_rank.size(); ++k) {
    const Values& own = by_rank[by_hops ? (first + k) % by_rank.size() : k][0];
    const Values part = by_hops ? own : cast(own, wire);
    if (by_hops && k > 0) total = cast(total, wire);
    for (std::size_t i = 0; i < total.size(); ++i) total[i] += part[i];
  }
  return cast(total, wire);
}

void expect_sums(int count, std::size_t size, Format wire, Algorithm algorithm) {
  Ranks ranks(count, Ranks::patient(512));
  const auto by_rank = parts_of_ranks(count, 1, size, 7);
  const SumRules rules{.wire = wire, .algorithm = algorithm, .aps = false};
  const std::vector<int> owners = chunks_of({size}, rules, count, 1)[0];
  Values wanted(size);
  for (int owner = 0; owner < count; ++owner) {
    const Values sum =
        sum_of(by_rank, wire, algorithm == Algorithm::ring, static_cast<std::size_t>(owner));
    for (std::size_t i = 0; i < size; ++i) {
      if (owners[i] == owner) wanted[i] = sum[i];
    }
  }
  for (const Values& got :
       allreduce_parts(ranks, by_rank, {.wire = wire, .algorithm = algorithm})) {
    ASSERT_TRUE(same_bits(got, wanted));
  }
}

TEST(BlockFormats, SumAsTheirCastsDo) {
  for (const char* name : kNames) {
    for (const auto algorithm : {Algorithm::direct, Algorithm::ring}) {
      for (const int count : {1, 2, 3, 5}) {
        for (const std::size_t size : {std::size_t{1}, std::size_t{100}, std::size_t{5003}}) {
          SCOPED_TRACE(::testing::Message() << name << ", " << to_string(algorithm) << ", " << count
                                            << " ranks, " << size << " values");
          expect_sums(count, size, Format::parse(name), algorithm);
        }
      }
    }
  }
}

TEST(BlockFormats, MakeABlockNanOnEveryRank) {
  Ranks ranks(3);
  for (const char* name : kNames) {
    for (const auto algorithm : {Algorithm::direct, Algorithm::ring}) {
      SCOPED_TRACE(name);
      const Format wire = Format::parse(name);
      ranks.run([&](Communicator& self) {
        Values values(3000, 1.0f);
        if (self.rank() == 1) values[40] = HUGE_VALF;
        const Report report = self.allreduce(values, {.wire = wire, .algorithm = algorithm});
        EXPECT_EQ(report.non_finite, std::vector<bool>{true});
        for (std::size_t i = 0; i < values.size(); ++i) {
          const bool spoilt = i / wire.block() == 40 / wire.block();
          ASSERT_EQ(bits(values[i]) == 0x7fc00000u, spoilt) << i;
        }
      });
    }
  }
}

void expect_refused(const AllreduceOptions& options, std::size_t count, const char* why) {
  Ranks ranks(1);
  Values values(count, 1.0f);
  const Outcome outcome = outcome_of([&] { ranks[0].allreduce(values, options); });
  EXPECT_TRUE(outcome.is(ErrorCode::invalid_argument)) << outcome;
  EXPECT_NE(outcome.message.find(why), std::string::npos) << outcome;
}

TEST(BlockFormats, AreRefusedWhereTheyHaveNoMeaning) {
  const Format bfp8 = Format::parse("bfp8");
  expect_refused({.wire = bfp8, .scaling = {Scaling::Kind::aps, 0}}, 9, "scales of their own");
  expect_refused({.wire = bfp8, .accumulate = Accumulate::rounded}, 9, "'wide'");
  expect_refused({.wire = bfp8, .accumulate = Accumulate::kahan}, 9, "'wide'");
  expect_refused({.wire = Format::parse("int8:65536")}, 65536, "a message has room");
  for (const char* name : {"e3m2fn", "e2m3fn", "e2m1fn"}) {
    expect_refused({.wire = Format::parse(name), .scaling = {Scaling::Kind::none, 0}}, 9, "NaN");
  }
}

}  // namespace
}  // namespace cpdcomm::testing
