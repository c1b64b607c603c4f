// A part that is read in one buffer while the result arrives in another.
#include <gtest/gtest.h>

#include "collective/sum_case.hpp"
#include "support/bits.hpp"

namespace cpdcomm::testing {
namespace {

using Values = std::vector<float>;

constexpr std::size_t kCount = 70001;

Values part_of(const Communicator& self) {
  return gradients(kCount, 7 + static_cast<unsigned>(self.rank()));
}

class OutOfPlace : public ::testing::TestWithParam<AllreduceOptions> {};

TEST_P(OutOfPlace, GivesTheBitsOfInPlaceAndLeavesTheInput) {
  for (const int count : {1, 2, 3, 4}) {
    Ranks ranks(count);
    ranks.run([&](Communicator& self) {
      const Values input = part_of(self);
      Values in_place = input;
      self.allreduce(in_place, GetParam());
      Values out(kCount, -1.0f);
      const Tensor tensor{.data = out.data(), .count = kCount, .input = input.data()};
      self.allreduce({&tensor, 1}, GetParam());
      EXPECT_TRUE(same_bits(out, in_place));
      EXPECT_TRUE(same_bits(input, part_of(self)));
    });
  }
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, OutOfPlace,
    ::testing::Values(
        AllreduceOptions{.algorithm = Algorithm::direct},
        AllreduceOptions{.algorithm = Algorithm::ring},
        AllreduceOptions{.algorithm = Algorithm::tree},
        AllreduceOptions{.wire = Format::floating(4, 3), .algorithm = Algorithm::halving_doubling},
        AllreduceOptions{.op = ReduceOp::max, .algorithm = Algorithm::ring},
        AllreduceOptions{.wire = Format::floating(4, 3), .algorithm = Algorithm::direct},
        AllreduceOptions{.wire = Format::floating(3, 0), .algorithm = Algorithm::ring},
        AllreduceOptions{.wire = Format::floating(5, 2),
                         .accumulate = Accumulate::kahan,
                         .algorithm = Algorithm::ring},
        AllreduceOptions{.wire = Format::parse("bfp8"), .algorithm = Algorithm::direct}));

TEST(OutOfPlace, TakesTheSameBufferForBoth) {
  Ranks ranks(2);
  ranks.run([](Communicator& self) {
    Values values(10, 1.0f);
    const Tensor tensor{.data = values.data(), .count = 10, .input = values.data()};
    self.allreduce({&tensor, 1});
    EXPECT_TRUE(same_bits(values, Values(10, 2.0f)));
  });
}

TEST(OutOfPlace, RefusesAnOverlap) {
  Ranks ranks(2);
  for (const std::size_t offset : {1u, 9u}) {
    for (const bool input_first : {false, true}) {
      const auto outcomes = ranks.outcomes([&](Communicator& self) {
        Values values(20, 1.0f);
        float* const low = values.data();
        const Tensor tensor{.data = input_first ? low + offset : low,
                            .count = 10,
                            .input = input_first ? low : low + offset};
        self.allreduce({&tensor, 1});
      });
      EXPECT_TRUE(outcomes[0].is(ErrorCode::invalid_argument)) << outcomes[0];
      EXPECT_NE(outcomes[0].message.find("overlaps"), std::string::npos) << outcomes[0];
    }
  }
  ranks.run([](Communicator& self) { self.barrier(); });
}

TEST(OutOfPlace, RefusesAnInputBesideEmulatedNodes) {
  Ranks ranks(1);
  ranks.run([](Communicator& self) {
    Values out(4), input(4, 1.0f);
    const std::vector<const void*> nodes{input.data(), input.data()};
    const Tensor tensor{.data = out.data(), .count = 4, .nodes = nodes, .input = input.data()};
    const Outcome outcome = outcome_of([&] { self.allreduce({&tensor, 1}, {.emulate_nodes = 2}); });
    EXPECT_TRUE(outcome.is(ErrorCode::invalid_argument)) << outcome;
  });
}

TEST(OutOfPlaceTypes, MayLieSideBySide) {
  // FP16 values right behind the FP32 results: apart, although as many bytes as the results would
  // not be.
  constexpr std::size_t kFew = 100;
  Ranks ranks(1);
  ranks.run([&](Communicator& self) {
    std::vector<std::uint16_t> memory(3 * kFew, 0x3c00);  // 1.0
    for (const bool behind : {true, false}) {
      auto* const input = memory.data() + (behind ? 2 * kFew : 0);
      auto* const data = reinterpret_cast<float*>(memory.data() + (behind ? 0 : kFew));
      std::fill_n(input, kFew, std::uint16_t{0x3c00});
      const Tensor tensor{
          .data = data, .count = kFew, .input = input, .input_type = DataType::fp16};
      self.allreduce({&tensor, 1});
      EXPECT_EQ(data[kFew - 1], 1.0f);
      const Tensor over{
          .data = data, .count = kFew, .input = data + kFew - 1, .input_type = DataType::fp16};
      const Outcome outcome = outcome_of([&] { self.allreduce({&over, 1}); });
      EXPECT_NE(outcome.message.find("overlaps its data by 4 of 400 bytes"), std::string::npos)
          << outcome;
    }
  });
}

}  // namespace
}  // namespace cpdcomm::testing
