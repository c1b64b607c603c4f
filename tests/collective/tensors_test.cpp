// Many tensors in one call: alone or together, in pieces or in one buffer, the bits are the same.
#include <gtest/gtest.h>

#include <numeric>

#include "collective/sum_case.hpp"
#include "support/bits.hpp"
#include "support/formats.hpp"
#include "support/random.hpp"

namespace cpdcomm::testing {
namespace {

using Values = std::vector<float>;
using Tensors = std::vector<Values>;

const Format kE4m3 = Format::floating(4, 3);

/// Tensors of awkward sizes, each some binades from the others.
Tensors tensors_of(unsigned rank) {
  Tensors tensors;
  for (const std::size_t count : {5u, 0u, 1u, 1000u, 17u, 0u, 4096u, 3u}) {
    tensors.push_back(gradients(count, rank * 50 + static_cast<unsigned>(tensors.size())));
    const float scale = std::ldexp(1.0f, -6 * static_cast<int>(tensors.size()));
    for (float& x : tensors.back()) x *= scale;
  }
  return tensors;
}

std::vector<Tensor> views_of(Tensors& tensors) {
  std::vector<Tensor> views;
  for (Values& values : tensors) views.push_back({.data = values.data(), .count = values.size()});
  return views;
}

/// Each tensor in a call of its own.
Tensors one_by_one(Communicator& self, Tensors tensors, const AllreduceOptions& options) {
  for (Values& values : tensors) self.allreduce(values, options);
  return tensors;
}

void expect_same(const Tensors& got, const Tensors& wanted) {
  ASSERT_EQ(got.size(), wanted.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_TRUE(same_bits(got[i], wanted[i])) << "tensor " << i;
  }
}

class ManyTensors : public ::testing::TestWithParam<Accumulate> {
 protected:
  /// `direct`, because the chunks of a ring are others when tensors stand alone.
  AllreduceOptions options(Format wire, std::size_t group = 0) const {
    return {.wire = wire,
            .scaling = {Scaling::Kind::aps, group},
            .accumulate = GetParam(),
            .algorithm = Algorithm::direct};
  }
};

TEST_P(ManyTensors, AreSummedAsIfEachWereAlone) {
  for (const std::size_t segment : {0u, 64u, 1000u}) {
    Ranks ranks(3, Ranks::patient(segment));
    for (const Format wire : awkward_formats()) {
      SCOPED_TRACE(wire.to_string());
      for (const std::size_t group : {0u, 8u, 256u}) {
        ranks.run([&](Communicator& self) {
          Tensors tensors = tensors_of(static_cast<unsigned>(self.rank()));
          const Tensors wanted = one_by_one(self, tensors, options(wire, group));
          const Report report = self.allreduce(views_of(tensors), options(wire, group));
          expect_same(tensors, wanted);
          EXPECT_EQ(report.non_finite, std::vector<bool>(tensors.size(), false));
        });
      }
    }
  }
}

TEST_P(ManyTensors, MayLieInOneBuffer) {
  Ranks ranks(3);
  for (const Format wire : awkward_formats()) {
    SCOPED_TRACE(wire.to_string());
    ranks.run([&](Communicator& self) {
      Tensors tensors = tensors_of(static_cast<unsigned>(self.rank()));
      Values flat;
      std::vector<std::size_t> ends;
      for (const Values& values : tensors) {
        flat.insert(flat.end(), values.begin(), values.end());
        ends.push_back(flat.size());
      }
      const Report apart = self.allreduce(views_of(tensors), options(wire));
      const Report together = self.allreduce(flat, ends, options(wire));
      Values wanted;
      for (const Values& values : tensors) {
        wanted.insert(wanted.end(), values.begin(), values.end());
      }
      EXPECT_TRUE(same_bits(flat, wanted));
      EXPECT_EQ(apart.wire_bytes, together.wire_bytes);
      EXPECT_EQ(apart.logical_bytes, together.logical_bytes);
      EXPECT_EQ(together.non_finite.size(), tensors.size());
    });
  }
}

TEST_P(ManyTensors, MayHaveFormatsOfTheirOwn) {
  Ranks ranks(3);
  const std::vector<Format> formats = awkward_formats();
  ranks.run([&](Communicator& self) {
    Tensors tensors = tensors_of(static_cast<unsigned>(self.rank()));
    Tensors wanted = tensors;
    std::vector<Tensor> views = views_of(tensors);
    for (std::size_t i = 0; i < views.size(); ++i) {
      if (i % 3 != 0) views[i].wire = formats[i % formats.size()];
      self.allreduce(wanted[i], options(views[i].wire.value_or(kE4m3)));
    }
    self.allreduce(views, options(kE4m3));
    expect_same(tensors, wanted);
  });
}

INSTANTIATE_TEST_SUITE_P(All, ManyTensors,
                         ::testing::Values(Accumulate::wide, Accumulate::rounded,
                                           Accumulate::kahan),
                         [](const auto& test) { return to_string(test.param); });

TEST(Tensors, OfTypesThatAreNotCompressedTravelBesideThoseThatAre) {
  Ranks ranks(4);
  ranks.run([&](Communicator& self) {
    const int rank = self.rank();
    Values floats(100, 1.0f + static_cast<float>(rank));
    std::vector<std::int64_t> integers(77, std::int64_t{1} << 40);
    std::vector<double> doubles(33, 1.0 + 0x1p-40);
    const std::vector<Tensor> tensors{
        {.data = integers.data(), .count = integers.size(), .type = DataType::int64},
        {.data = floats.data(), .count = floats.size()},
        {.data = doubles.data(), .count = doubles.size(), .type = DataType::fp64}};
    const Report report = self.allreduce(tensors, {.wire = kE4m3});
    EXPECT_TRUE(same_bits(floats, Values(100, 10.0f)));
    EXPECT_EQ(integers, std::vector<std::int64_t>(77, std::int64_t{1} << 42));
    EXPECT_EQ(doubles, std::vector<double>(33, 4.0 + 0x1p-38));
    EXPECT_EQ(report.logical_bytes, 100u * 4 + 77 * 8 + 33 * 8);
    EXPECT_EQ(report.non_finite, std::vector<bool>(3, false));
  });
}

TEST(Tensors, OfAWideLayerStayExact) {
  Ranks ranks(2);
  ranks.run([&](Communicator& self) {
    Values exempt = gradients(500, static_cast<unsigned>(self.rank()));
    Values compressed = exempt;
    Values wanted = exempt;
    self.allreduce(wanted);
    const std::vector<Tensor> tensors{
        {.data = exempt.data(), .count = exempt.size(), .wire = Format()},
        {.data = compressed.data(), .count = compressed.size()}};
    self.allreduce(tensors, {.wire = Format::parse("e3m0")});
    EXPECT_TRUE(same_bits(exempt, wanted));
    EXPECT_FALSE(same_bits(compressed, wanted));
  });
}

TEST(Tensors, MayBeNone) {
  Ranks ranks(3);
  ranks.run([&](Communicator& self) {
    for (const auto algorithm : {Algorithm::direct, Algorithm::ring}) {
      const AllreduceOptions options{.wire = kE4m3, .algorithm = algorithm};
      Report report = self.allreduce(std::span<const Tensor>(), options);
      EXPECT_TRUE(report.non_finite.empty());
      EXPECT_EQ(report.logical_bytes, 0u);
      const Tensor empty{};
      report = self.allreduce({&empty, 1}, options);
      EXPECT_EQ(report.non_finite, std::vector<bool>{false});
      self.allreduce(std::span<float>(), std::span<const std::size_t>(), options);
      const Tensor no_integers{.type = DataType::int32};
      self.allreduce({&no_integers, 1}, {.op = ReduceOp::max, .algorithm = algorithm});
    }
  });
}

TEST(Tensors, OfManyCallsInARow) {
  Ranks ranks(3);
  ranks.run([&](Communicator& self) {
    Random random(9);
    for (int call = 0; call < 300; ++call) {
      const std::size_t count = random.below(2000);
      const AllreduceOptions options{
          .wire = random.below(2) == 0 ? Format() : kE4m3,
          .algorithm = random.below(2) == 0 ? Algorithm::direct : Algorithm::ring};
      Values values(count, static_cast<float>(self.rank()));
      self.allreduce(values, options);
      ASSERT_TRUE(same_bits(values, Values(count, 3.0f))) << "call " << call;
    }
  });
}

TEST(Tensors, InOneBufferNeedEndsThatAscend) {
  Ranks ranks(2);
  const std::vector<std::vector<std::size_t>> wrong{{},          {9}, {11},       {5, 4, 10},
                                                    {5, 11, 10}, {5}, {10, 10, 9}};
  for (const auto& ends : wrong) {
    const auto outcomes = ranks.outcomes([&](Communicator& self) {
      Values values(10, 1.0f);
      self.allreduce(values, ends, {.wire = kE4m3});
    });
    EXPECT_TRUE(outcomes[0].is(ErrorCode::invalid_argument)) << outcomes[0];
    EXPECT_TRUE(outcomes[1].is(ErrorCode::invalid_argument)) << outcomes[1];
  }
  ranks.run([](Communicator& self) { self.barrier(); });
}

}  // namespace
}  // namespace cpdcomm::testing
