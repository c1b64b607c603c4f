// Every all-reduce equals the sum that the specification writes down, bit for bit.
#include <gtest/gtest.h>

#include "collective/chunks.hpp"
#include "collective/sum_case.hpp"
#include "support/bits.hpp"
#include "support/formats.hpp"

namespace cpdcomm::testing {
namespace {

struct Case {
  Accumulate accumulate;
  Algorithm algorithm;
  bool aps;
};

std::string print_case(const ::testing::TestParamInfo<Case>& test) {
  return to_string(test.param.accumulate) + "_" + to_string(test.param.algorithm) +
         (test.param.aps ? "_aps" : "");
}

std::vector<Case> cases_with(bool aps) {
  std::vector<Case> cases;
  for (const auto accumulate : {Accumulate::wide, Accumulate::rounded, Accumulate::kahan}) {
    for (const auto algorithm : {Algorithm::direct, Algorithm::ring}) {
      cases.push_back({accumulate, algorithm, aps});
    }
  }
  return cases;
}

class Emulation : public ::testing::TestWithParam<Case> {
 protected:
  SumRules rules(Format wire) const {
    return {.wire = wire,
            .accumulate = GetParam().accumulate,
            .algorithm = GetParam().algorithm,
            .aps = GetParam().aps};
  }

  static void expect_reference(Ranks& ranks, const std::vector<Parts>& by_rank,
                               const SumRules& rules) {
    const std::size_t count = by_rank[0][0].size();
    const auto nodes = static_cast<int>(by_rank[0].size());
    const std::vector<int> owners = chunks_of({count}, rules, ranks.size(), nodes)[0];
    const ReferenceSum reference(by_rank, rules,
                                 schedules_of(rules, static_cast<int>(by_rank.size())));
    std::vector<float> wanted;
    for (std::size_t i = 0; i < count; ++i) wanted.push_back(reference.at(i, owners[i]));
    for (const auto& got : allreduce_parts(ranks, by_rank, rules.options())) {
      ASSERT_TRUE(same_bits(got, wanted));
    }
  }
};

TEST_P(Emulation, OfRanks) {
  for (const int count : {1, 2, 3, 5, 8}) {
    Ranks ranks(count);
    for (const Format wire : awkward_formats()) {
      SCOPED_TRACE(::testing::Message() << count << " ranks, " << wire.to_string());
      expect_reference(ranks, parts_of_ranks(count, 1, 1003, 1), rules(wire));
    }
  }
}

TEST_P(Emulation, OfEveryFormat) {
  Ranks ranks(3);
  for (const Format wire : all_formats()) {
    SCOPED_TRACE(wire.to_string());
    expect_reference(ranks, parts_of_ranks(3, 1, 67, 2), rules(wire));
  }
}

TEST_P(Emulation, OfRanksTimesNodes) {
  for (const auto& [count, nodes] : {std::pair{1, 8}, {2, 3}, {3, 2}, {4, 8}}) {
    Ranks ranks(count);
    for (const Format wire : awkward_formats()) {
      SCOPED_TRACE(::testing::Message() << count << " x " << nodes << ", " << wire.to_string());
      expect_reference(ranks, parts_of_ranks(count, nodes, 205, 3), rules(wire));
    }
  }
}

TEST_P(Emulation, OfSegments) {
  // Blocks, segments and messages end in the middle of everything.
  Ranks ranks(3, Ranks::patient(200));
  for (const char* wire : {"e4m3", "e5m5", "fp32"}) {
    SCOPED_TRACE(wire);
    expect_reference(ranks, parts_of_ranks(3, 1, 4999, 4), rules(Format::parse(wire)));
    expect_reference(ranks, parts_of_ranks(3, 2, 4999, 5), rules(Format::parse(wire)));
  }
}

TEST_P(Emulation, OfTheAverage) {
  Ranks ranks(3);
  SumRules average = rules(Format::parse("e4m3"));
  average.op = ReduceOp::average;
  expect_reference(ranks, parts_of_ranks(3, 1, 500, 6), average);
  expect_reference(ranks, parts_of_ranks(3, 5, 500, 7), average);
}

class ScaledEmulation : public Emulation {};

TEST_P(ScaledEmulation, OfExponentsForGroups) {
  Ranks ranks(3);
  for (const std::size_t group : {8u, 24u, 512u, 1024u, 4096u}) {
    SCOPED_TRACE(group);
    SumRules grouped = rules(Format::parse("e3m0"));
    grouped.group = group;
    expect_reference(ranks, parts_of_ranks(3, 1, 2077, 8), grouped);
    expect_reference(ranks, parts_of_ranks(3, 2, 2077, 9), grouped);
  }
}

TEST_P(Emulation, OfValuesAtTheEdges) {
  // Sums that overflow, cancel, underflow and are not finite.
  Ranks ranks(4);
  for (const char* name : {"e1m3", "e2m0", "e3m0", "e4m3", "e5m2", "bf16", "e8m0", "fp32"}) {
    SCOPED_TRACE(name);
    const Format wire = Format::parse(name);
    std::vector<Parts> by_rank;
    for (unsigned rank = 0; rank < 4; ++rank) {
      by_rank.push_back({cast_patterns(wire, 0, rank)});
      by_rank.back()[0].resize(1000);
    }
    SumRules edges = rules(wire);
    edges.group = 8;  // or a single NaN would hide all else
    expect_reference(ranks, by_rank, edges);
  }
}

INSTANTIATE_TEST_SUITE_P(Plain, Emulation, ::testing::ValuesIn(cases_with(false)), print_case);
INSTANTIATE_TEST_SUITE_P(Scaled, Emulation, ::testing::ValuesIn(cases_with(true)), print_case);
INSTANTIATE_TEST_SUITE_P(Scaled, ScaledEmulation, ::testing::ValuesIn(cases_with(true)),
                         print_case);

}  // namespace
}  // namespace cpdcomm::testing
