// What becomes of values that are zero, not finite or very small, and of tensors of other types.
#include <gtest/gtest.h>

#include <cfloat>
#include <cmath>

#include "collective/chunks.hpp"
#include "collective/sum_case.hpp"
#include "support/bits.hpp"
#include "support/formats.hpp"
#include "support/reference_cast.hpp"

namespace cpdcomm::testing {
namespace {

constexpr float kInf = HUGE_VALF;
const float kNan = value_of(0xffc12345u);

using Values = std::vector<float>;

std::vector<AllreduceOptions> all_options() {
  std::vector<AllreduceOptions> all;
  for (const auto accumulate : {Accumulate::wide, Accumulate::rounded, Accumulate::kahan}) {
    for (const auto algorithm : {Algorithm::direct, Algorithm::ring}) {
      for (const auto kind : {Scaling::Kind::none, Scaling::Kind::aps}) {
        all.push_back({.scaling = {kind, 0}, .accumulate = accumulate, .algorithm = algorithm});
      }
    }
  }
  return all;
}

std::string describe(const AllreduceOptions& options) {
  return options.wire.to_string() + ", " + to_string(options.scaling) + ", " +
         to_string(options.accumulate) + ", " + to_string(options.algorithm);
}

/// Runs a call for every way to sum and every awkward format.
template <typename F>
void for_all_options(F&& work) {
  for (AllreduceOptions options : all_options()) {
    for (const Format wire : awkward_formats()) {
      options.wire = wire;
      SCOPED_TRACE(describe(options));
      work(options);
    }
  }
}

TEST(Values, ThatAreZeroStayPositiveZero) {
  Ranks ranks(3);
  for_all_options([&](const AllreduceOptions& options) {
    ranks.run([&](Communicator& self) {
      Values values(100, self.rank() == 1 ? -0.0f : 0.0f);
      const Report report = self.allreduce(values, options);
      EXPECT_TRUE(same_bits(values, Values(100, 0.0f)));
      EXPECT_EQ(report.non_finite, std::vector<bool>{false});
    });
  });
}

/// Sums {ordinary, special, ordinary} where one rank brings a special value.
void expect_non_finite_everywhere(Ranks& ranks, float special, const AllreduceOptions& options) {
  ranks.run([&](Communicator& self) {
    Values before(40, 0.5f);
    Values middle(40, 0.5f);
    Values after(40, 0.25f);
    if (self.rank() == 2) middle[33] = special;
    const std::vector<Tensor> tensors{{.data = before.data(), .count = before.size()},
                                      {.data = middle.data(), .count = middle.size()},
                                      {.data = after.data(), .count = after.size()}};
    const Report report = self.allreduce(tensors, options);
    EXPECT_FALSE(std::isfinite(middle[33])) << special;
    EXPECT_EQ(report.non_finite, (std::vector<bool>{false, true, false})) << special;
    EXPECT_TRUE(same_bits(before, Values(40, 1.5f))) << special;
    EXPECT_TRUE(same_bits(after, Values(40, 0.75f))) << special;
  });
}

TEST(Values, ThatAreNotFiniteReachEveryRankAndNoOtherTensor) {
  Ranks ranks(3);
  for_all_options([&](AllreduceOptions options) {
    if (options.wire.man_bits() < 1) return;  // 1.5 is not exact there
    for (const float special : {kInf, -kInf, kNan}) {
      expect_non_finite_everywhere(ranks, special, options);
    }
  });
}

TEST(Values, ThatAreNotFiniteMakeAScaledTensorNan) {
  Ranks ranks(3);
  for (const char* wire : {"e3m0", "e4m3", "bf16"}) {
    const AllreduceOptions options{.wire = Format::parse(wire)};
    ranks.run([&](Communicator& self) {
      Values values(100, 1.0f);
      if (self.rank() == 0) values[99] = -kInf;
      self.allreduce(values, options);
      EXPECT_TRUE(same_bits(values, Values(100, value_of(0x7fc00000u))));
    });
  }
}

TEST(Values, ThatAreNotFiniteSpoilTheirGroupOnly) {
  Ranks ranks(2);
  const AllreduceOptions options{.wire = Format::floating(4, 3),
                                 .scaling = {Scaling::Kind::aps, 16}};
  ranks.run([&](Communicator& self) {
    Values values(50, 1.0f);
    if (self.rank() == 1) values[20] = kNan;
    const Report report = self.allreduce(values, options);
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(bits(values[i]), i / 16 == 1 ? 0x7fc00000u : bits(2.0f)) << i;
    }
    EXPECT_EQ(report.non_finite, std::vector<bool>{true});
  });
}

TEST(Values, ThatOverflowAreReported) {
  Ranks ranks(2);
  ranks.run([&](Communicator& self) {
    Values values{FLT_MAX, 1.0f};
    EXPECT_TRUE(self.allreduce(values).non_finite[0]);
    EXPECT_TRUE(same_bits(values, Values{kInf, 2.0f}));
    values = {200.0f, 1.0f};
    const AllreduceOptions unscaled{.wire = Format::floating(4, 3),
                                    .scaling = {Scaling::Kind::none, 0}};
    EXPECT_TRUE(self.allreduce(values, unscaled).non_finite[0]);
    EXPECT_TRUE(same_bits(values, Values{kInf, 2.0f}));
    values = {200.0f, 1.0f};
    EXPECT_FALSE(self.allreduce(values, {.wire = Format::floating(4, 3)}).non_finite[0]);
    EXPECT_EQ(values[0], 384.0f);
    // Scaled, the sum fits the wire; only FP32 cannot hold it at the end.
    values = {FLT_MAX, 1.0f};
    EXPECT_TRUE(self.allreduce(values, {.wire = Format::parse("bf16")}).non_finite[0]);
  });
}

TEST(Values, ThatAreSubnormalSurvive) {
  Ranks ranks(4);
  for_all_options([&](const AllreduceOptions& options) {
    const bool scaled = options.scaling.kind == Scaling::Kind::aps;
    if (!scaled && !options.wire.is_fp32()) return;
    ranks.run([&](Communicator& self) {
      Values values(20, 0x1p-149f);
      self.allreduce(values, options);
      EXPECT_TRUE(same_bits(values, Values(20, 0x1p-147f)));
    });
  });
}

TEST(Values, OfManyMagnitudesEachKeepTheirTensorsScale) {
  Ranks ranks(2);
  const AllreduceOptions options{.wire = Format::parse("e2m3")};
  ranks.run([&](Communicator& self) {
    const Values magnitudes{0x1p-149f, 0x1p-126f, 0x1p-60f, 1.0f, 0x1p60f, 0x1p126f};
    std::vector<Values> values;
    std::vector<Tensor> tensors;
    for (const float magnitude : magnitudes) values.emplace_back(9, magnitude);
    for (auto& v : values) tensors.push_back({.data = v.data(), .count = v.size()});
    self.allreduce(tensors, options);
    for (std::size_t i = 0; i < values.size(); ++i) {
      EXPECT_TRUE(same_bits(values[i], Values(9, 2 * magnitudes[i])));
    }
  });
}

TEST(Values, OfOneRankAreStillCast) {
  Ranks ranks(1);
  for_all_options([&](const AllreduceOptions& options) {
    Values values = gradients(200, 1);
    const SumRules rules{.wire = options.wire,
                         .accumulate = options.accumulate,
                         .algorithm = options.algorithm,
                         .aps = options.scaling.kind == Scaling::Kind::aps};
    const std::vector<Parts> by_rank{{values}};
    const ReferenceSum reference(by_rank, rules,
                                 schedules_of(rules, static_cast<int>(by_rank.size())));
    ranks[0].allreduce(values, options);
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(bits(values[i]), bits(reference.at(i, 0))) << i;
    }
  });
}

// --- tensors of 16 bits --------------------------------------------------------------------------

class HalfTensors : public ::testing::TestWithParam<DataType> {
 protected:
  Format format() const { return Format::parse(to_string(GetParam())); }

  std::vector<std::uint16_t> halves(const Values& values) const {
    std::vector<std::uint16_t> codes;
    for (const float x : values) {
      codes.push_back(static_cast<std::uint16_t>(reference_encode(x, format())));
    }
    return codes;
  }
  Values floats(const std::vector<std::uint16_t>& codes) const {
    Values values;
    for (const std::uint16_t code : codes) values.push_back(reference_decode(code, format()));
    return values;
  }
};

TEST_P(HalfTensors, EnterExactlyAndAreRoundedOnce) {
  Ranks ranks(3);
  for_all_options([&](const AllreduceOptions& options) {
    PerRank<std::vector<std::uint16_t>> codes;
    std::vector<Parts> by_rank;
    for (unsigned rank = 0; rank < 3; ++rank) {
      codes.push_back(halves(gradients(1500, rank)));
      by_rank.push_back({floats(codes.back())});
    }
    const SumRules rules{.wire = options.wire,
                         .accumulate = options.accumulate,
                         .algorithm = options.algorithm,
                         .aps = options.scaling.kind == Scaling::Kind::aps};
    const std::vector<int> owners = chunks_of({1500}, rules, 3, 1)[0];
    const ReferenceSum reference(by_rank, rules,
                                 schedules_of(rules, static_cast<int>(by_rank.size())));
    Values wanted;
    for (std::size_t i = 0; i < 1500; ++i) {
      wanted.push_back(reference_cast(reference.at(i, owners[i]), format()));
    }
    ranks.run([&](Communicator& self) {
      auto& own = codes[index_of(self)];
      const Tensor tensor{.data = own.data(), .count = own.size(), .type = GetParam()};
      const Report report = self.allreduce({&tensor, 1}, options);
      EXPECT_EQ(report.logical_bytes, own.size() * sizeof(float));
      EXPECT_TRUE(same_bits(floats(own), wanted));
    });
  });
}

TEST_P(HalfTensors, MayBePartsOfEmulatedNodes) {
  Ranks ranks(2);
  for_all_options([&](AllreduceOptions options) {
    options.algorithm = Algorithm::direct;
    options.emulate_nodes = 3;
    PerRank<std::vector<std::vector<std::uint16_t>>> codes(2);
    std::vector<Parts> by_rank(2);
    for (std::size_t rank = 0; rank < 2; ++rank) {
      for (unsigned node = 0; node < 3; ++node) {
        codes[rank].push_back(halves(gradients(300, node + 10 * static_cast<unsigned>(rank))));
        by_rank[rank].push_back(floats(codes[rank].back()));
      }
    }
    const ReferenceSum reference(by_rank, {.wire = options.wire,
                                           .accumulate = options.accumulate,
                                           .aps = options.scaling.kind == Scaling::Kind::aps});
    ranks.run([&](Communicator& self) {
      std::vector<std::uint16_t> out(300);
      std::vector<const void*> nodes;
      for (const auto& part : codes[index_of(self)]) nodes.push_back(part.data());
      const Tensor tensor{
          .data = out.data(), .count = out.size(), .type = GetParam(), .nodes = nodes};
      self.allreduce({&tensor, 1}, options);
      for (std::size_t i = 0; i < out.size(); ++i) {
        ASSERT_EQ(out[i], reference_encode(reference.at(i, 0), format())) << i;
      }
    });
  });
}

TEST_P(HalfTensors, SayWhatOverflowsInThem) {
  Ranks ranks(2);
  const float most = reference_decode(infinity_code(format()) - 1, format());
  ranks.run([&](Communicator& self) {
    std::vector<std::uint16_t> codes = halves({1.0f, most});
    const Tensor tensor{.data = codes.data(), .count = codes.size(), .type = GetParam()};
    EXPECT_TRUE(self.allreduce({&tensor, 1}).non_finite[0]);
    EXPECT_TRUE(same_bits(floats(codes), Values{2.0f, kInf}));
    EXPECT_EQ(codes, halves({2.0f, kInf}));
  });
}

INSTANTIATE_TEST_SUITE_P(All, HalfTensors, ::testing::Values(DataType::bf16, DataType::fp16),
                         [](const auto& test) { return to_string(test.param); });

}  // namespace
}  // namespace cpdcomm::testing
