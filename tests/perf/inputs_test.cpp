#include "allreduce/inputs.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "support/bits.hpp"
#include "support/random.hpp"
#include "support/ranks.hpp"

namespace cpdcomm::perf {
namespace {

using cpdcomm::testing::outcome_of;
using cpdcomm::testing::Random;
using cpdcomm::testing::same_bits;

using Values = std::vector<float>;

Values filled(const Inputs& inputs, int rank, std::size_t first, std::size_t count) {
  Values values(count, -77.0f);
  inputs.fill(rank, first, values);
  return values;
}

/// Whether slices of any cut give what the whole gives.
void expect_the_same_in_slices(const Inputs& inputs, int rank) {
  const Values whole = filled(inputs, rank, 0, 3001);
  Random random(5);
  for (std::size_t first = 0; first < whole.size();) {
    const std::size_t count = std::min<std::size_t>(random.below(40), whole.size() - first);
    const auto begin = whole.begin() + static_cast<std::ptrdiff_t>(first);
    EXPECT_TRUE(same_bits(filled(inputs, rank, first, count),
                          Values(begin, begin + static_cast<std::ptrdiff_t>(count))))
        << first;
    first += count;
  }
}

Values counting(std::size_t count) {
  Values values(count);
  std::iota(values.begin(), values.end(), 0.0f);
  return values;
}

TEST(RandomInputs, AreTheSameInSlices) {
  expect_the_same_in_slices(*random_inputs(1), 0);
  expect_the_same_in_slices(*random_inputs(1), 3);
}

TEST(RandomInputs, DependOnSeedAndRank) {
  const auto inputs = random_inputs(1);
  EXPECT_TRUE(same_bits(filled(*random_inputs(1), 2, 0, 100), filled(*inputs, 2, 0, 100)));
  const Values values = filled(*inputs, 0, 0, 100);
  EXPECT_FALSE(same_bits(filled(*inputs, 1, 0, 100), values));
  EXPECT_FALSE(same_bits(filled(*random_inputs(2), 0, 0, 100), values));
  EXPECT_FALSE(same_bits(filled(*inputs, 0, 100, 100), values));
  EXPECT_FALSE(same_bits(filled(*inputs, 0, std::size_t{4} << 32, 100), values));
}

TEST(RandomInputs, AreStandardNormal) {
  const Values values = filled(*random_inputs(7), 1, 0, 1 << 20);
  double sums[4] = {};
  std::size_t within_one = 0;
  double neighbours = 0;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double x = values[i];
    ASSERT_TRUE(std::isfinite(x));
    for (int power = 0; power < 4; ++power) sums[power] += std::pow(x, power + 1);
    if (std::fabs(x) < 1) ++within_one;
    if (i > 0) neighbours += x * static_cast<double>(values[i - 1]);
  }
  // Five standard deviations of each mean of 2^20 values.
  const auto count = static_cast<double>(values.size());
  EXPECT_NEAR(sums[0] / count, 0, 0.005);
  EXPECT_NEAR(sums[1] / count, 1, 0.007);
  EXPECT_NEAR(sums[2] / count, 0, 0.019);
  EXPECT_NEAR(sums[3] / count, 3, 0.048);
  EXPECT_NEAR(static_cast<double>(within_one) / count, 0.6827, 0.0023);
  EXPECT_NEAR(neighbours / count, 0, 0.005);
}

TEST(ArrayInputs, GoFromRowToRow) {
  const auto inputs = array_inputs(counting(21), 3, 7, 5, "numbers");
  for (int rank = 0; rank < 5; ++rank) {
    const Values values = filled(*inputs, rank, 0, 50);
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::size_t row = (static_cast<std::size_t>(rank) + i / 7) % 3;
      ASSERT_EQ(values[i], static_cast<float>(row * 7 + i % 7)) << rank << ", " << i;
    }
    expect_the_same_in_slices(*inputs, rank);
  }
}

TEST(ArrayInputs, OfOneRowStartElsewhereOnEachRank) {
  const auto inputs = array_inputs(counting(10), 1, 10, 4, "numbers");
  EXPECT_EQ(filled(*inputs, 0, 0, 3), (Values{0, 1, 2}));
  EXPECT_EQ(filled(*inputs, 1, 0, 3), (Values{2, 3, 4}));
  EXPECT_EQ(filled(*inputs, 3, 1, 4), (Values{8, 9, 0, 1}));
  expect_the_same_in_slices(*inputs, 3);
}

TEST(ArrayInputs, SayWhatTheyAre) {
  EXPECT_EQ(array_inputs(counting(6), 2, 3, 4, "some.npy")->describe(), "some.npy, 2 x 3 values");
  EXPECT_NE(random_inputs(12)->describe().find("12"), std::string::npos);
}

TEST(ArrayInputs, OfAnotherShapeAreRefused) {
  const auto refused = [](std::size_t values, std::size_t rows, std::size_t columns, int ranks) {
    return outcome_of([&] { array_inputs(Values(values), rows, columns, ranks, "x.npy"); })
        .is(ErrorCode::invalid_argument);
  };
  EXPECT_TRUE(refused(0, 0, 0, 1));
  EXPECT_TRUE(refused(0, 0, 4, 1));
  EXPECT_TRUE(refused(5, 2, 3, 1));
  EXPECT_TRUE(refused(7, 2, 3, 1));
  EXPECT_TRUE(refused(6, 2, 3, 0));
  EXPECT_FALSE(refused(6, 2, 3, 1));
}

}  // namespace
}  // namespace cpdcomm::perf
