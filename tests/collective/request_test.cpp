// What is refused before anything is sent.
#include <gtest/gtest.h>

#include <vector>

#include "support/ranks.hpp"

namespace cpdcomm::testing {
namespace {

struct IntegerSum {
  const char* wire;
  Accumulate accumulate;
  const char* scaling;
};

Outcome outcome_of_sum(const IntegerSum& of) {
  Ranks ranks(1);
  std::vector<float> values(16, 1.0f);
  const AllreduceOptions options{.wire = Format::parse(of.wire),
                                 .scaling = parse_scaling(of.scaling),
                                 .accumulate = of.accumulate};
  return outcome_of([&] { ranks[0].allreduce(values, options); });
}

TEST(Request, OfAnIntegerSumTakesTheScalingsThatItHas) {
  for (const IntegerSum& sum : {IntegerSum{"bfp8", Accumulate::exact, "automatic"},
                                {"int8:64", Accumulate::exact, "aps"},
                                {"sign", Accumulate::majority, "automatic"},
                                {"sign", Accumulate::majority, "none"}}) {
    EXPECT_FALSE(outcome_of_sum(sum).code) << sum.wire << " " << sum.scaling;
  }
}

TEST(Request, OfAnIntegerSumRefusesOtherScalings) {
  const auto refused = [](const IntegerSum& sum, const std::string& allowed) {
    const Outcome outcome = outcome_of_sum(sum);
    EXPECT_TRUE(outcome.is(ErrorCode::invalid_argument)) << sum.scaling << ": " << outcome;
    for (const std::string& words :
         {"scaling '" + std::string(sum.scaling) + "'", "'" + to_string(sum.accumulate) + "'",
          "allowed are " + allowed}) {
      EXPECT_NE(outcome.message.find(words), std::string::npos) << words << ": " << outcome;
    }
  };
  for (const char* scaling : {"none", "aps:64", "delayed"}) {
    refused({"bfp8", Accumulate::exact, scaling}, "automatic and aps");
    refused({"int8:64", Accumulate::exact, scaling}, "automatic and aps");
  }
  for (const char* scaling : {"aps", "aps:64", "delayed"}) {
    refused({"sign", Accumulate::majority, scaling}, "automatic and none");
  }
}

/// Memory for no values may have no place.
TEST(Request, OfAnEmptyTensorMayHaveAnInputOfAnotherType) {
  Ranks ranks(1);
  const Tensor empty{.count = 0, .input_type = DataType::fp16};
  const Outcome outcome = outcome_of([&] { ranks[0].allreduce({&empty, 1}, {}); });
  EXPECT_FALSE(outcome.code) << outcome;
}

TEST(Request, OfAnExemptTensorIsNotThatOfTheIntegerSum) {
  Ranks ranks(1);
  std::vector<float> values(16, 1.0f);
  const Tensor exempt{.data = values.data(), .count = values.size(), .wire = Format()};
  const Outcome outcome = outcome_of([&] {
    ranks[0].allreduce({&exempt, 1}, {.wire = Format::parse("bfp8"),
                                      .scaling = {Scaling::Kind::none},
                                      .accumulate = Accumulate::exact});
  });
  EXPECT_FALSE(outcome.code) << outcome;
}

}  // namespace
}  // namespace cpdcomm::testing
