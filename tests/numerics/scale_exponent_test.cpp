#include "numerics/scale_exponent.hpp"

#include <gtest/gtest.h>

#include <cfloat>

#include "support/bits.hpp"
#include "support/random.hpp"
#include "support/reference_cast.hpp"

namespace cpdcomm::testing {
namespace {

using numerics::scale_exponent;
using numerics::scale_value;

int exponent(float largest, std::uint64_t world) { return scale_exponent(bits(largest), world); }

TEST(ScaleExponent, IsExactAtPowersOfTwo) {
  EXPECT_EQ(exponent(1.0f, 1), 0);
  EXPECT_EQ(exponent(1.0f, 8), 3);
  EXPECT_EQ(exponent(0.75f, 4), 2);
  EXPECT_EQ(exponent(1.0f, 3), 2);
  EXPECT_EQ(exponent(0x1.000002p0f, 1), 1);
  EXPECT_EQ(exponent(0x1.fffffep0f, 4), 3);
  EXPECT_EQ(exponent(0x1p-149f, 1), -149);
  EXPECT_EQ(exponent(0x1p-149f, 7), -146);
}

TEST(ScaleExponent, IsNotThatOfTheRoundedProduct) {
  // 3 * this is 2^24 + 2, a hair above a power of two, but its FP32 product is not.
  const float third = 0x1.555556p22f;
  EXPECT_EQ(exponent(third, 3), 25);
  EXPECT_EQ(exponent(0x1.fffffep23f, (1u << 24) + 1), 48);
}

TEST(ScaleExponent, GoesBeyondFp32) {
  EXPECT_EQ(exponent(FLT_MAX, 1), 128);
  EXPECT_EQ(exponent(FLT_MAX, std::uint64_t{1} << 31), 159);
}

TEST(ScaleExponent, NamesWhatNoNumberCan) {
  EXPECT_EQ(scale_exponent(0, 8), numerics::kNothing);
  EXPECT_EQ(scale_exponent(0x7f800000u, 8), numerics::kNonFinite);
  EXPECT_EQ(scale_exponent(0x7f800001u, 8), numerics::kNonFinite);
  EXPECT_EQ(scale_exponent(0x7fffffffu, 1), numerics::kNonFinite);
  EXPECT_GT(numerics::kNonFinite, exponent(FLT_MAX, std::uint64_t{1} << 31));
  EXPECT_LT(numerics::kNothing, exponent(0x1p-149f, 1));
  EXPECT_EQ(numerics::shift_for(numerics::kNothing, 7), 0);
  EXPECT_EQ(numerics::shift_for(numerics::kNonFinite, 7), 0);
  EXPECT_EQ(numerics::shift_for(-20, 7), 27);
}

TEST(ScaleExponent, IsTheSmallestThatHoldsTheSum) {
  Random random(7);
  for (int i = 0; i < 20000; ++i) {
    // Half of the worlds are small, and half of the values have few bits: there the edges are.
    const std::uint64_t world = 1 + random.below(i % 2 == 0 ? 100u : 1u << 31);
    const std::uint32_t mask = 0xffffffffu << (i % 4 < 2 ? 0 : 12 + random.below(12));
    const float largest = value_of(random.below(0x7f800000u) & mask);
    if (largest == 0) continue;
    ASSERT_EQ(exponent(largest, world), reference_exponent(largest, world))
        << std::hexfloat << largest << " * " << world;
  }
}

TEST(ScaleValue, RoundsToFp32Once) {
  EXPECT_EQ(scale_value(0x1.8p0f, -149), 0x1p-148f);  // a tie between subnormals: the even one
  EXPECT_EQ(scale_value(0x1p-149f, 149), 1.0f);
  EXPECT_EQ(scale_value(0x1p-149f, 276), 0x1p127f);
  EXPECT_EQ(scale_value(0x1p127f, -276), 0x1p-149f);
  EXPECT_EQ(scale_value(1.0f, 128), HUGE_VALF);
  EXPECT_EQ(bits(scale_value(-0.0f, 300)), 0x80000000u);
  EXPECT_EQ(bits(scale_value(value_of(0xffc12345u), 0)), 0xffc12345u);
}

}  // namespace
}  // namespace cpdcomm::testing
