#include "numerics/cast.hpp"
#include "numerics/exact.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "support/bits.hpp"
#include "support/formats.hpp"
#include "support/patterns.hpp"
#include "support/reference_cast.hpp"

namespace cpdcomm::testing {
namespace {

using numerics::FloatLayout;

/// All formats with so many exponent bits.
class Cast : public ::testing::TestWithParam<int> {
 protected:
  template <typename F>
  void for_formats(F&& work) {
    for (int man_bits = 0; man_bits <= 23; ++man_bits) {
      format_ = Format::floating(GetParam(), man_bits);
      layout_ = FloatLayout::of(format_);
      SCOPED_TRACE(format_.to_string());
      work();
    }
  }

  std::uint32_t encode(float x, int shift = 0, bool saturate = false) const {
    return numerics::encode_value(x, shift, layout_, saturate);
  }
  float decode(std::uint32_t code) const { return numerics::decode_value(code, layout_); }
  std::uint32_t sign() const { return 1u << (format_.code_bits() - 1); }

  void expect_reference(int shift, bool saturate) const {
    for (const float x : cast_patterns(format_, shift, 1)) {
      ASSERT_EQ(encode(x, shift, saturate), reference_encode(x, format_, shift, saturate))
          << std::hexfloat << x << " (" << std::hex << bits(x) << ") * 2^" << std::dec << shift;
    }
  }

  /// All codes of a small format; of a large one every so many.
  template <typename F>
  void for_codes(F&& work) const {
    const std::uint64_t codes = std::uint64_t{1} << format_.code_bits();
    const std::uint64_t step = std::max<std::uint64_t>(1, (codes >> 14) - 1);
    for (std::uint64_t code = 0; code < codes; code += step) work(static_cast<std::uint32_t>(code));
  }

  Format format_;
  FloatLayout layout_ = FloatLayout::of(format_);
};

TEST_P(Cast, IsTheNearestCode) {
  for_formats([&] { expect_reference(0, false); });
}

TEST_P(Cast, SaturatesWhereAsked) {
  for_formats([&] { expect_reference(0, true); });
}

TEST_P(Cast, RoundsOnceAfterAShift) {
  for_formats([&] {
    for (const int shift : {-400, -277, -150, -127, -25, -1, 1, 13, 126, 149, 276, 400}) {
      expect_reference(shift, false);
      expect_reference(shift, true);
    }
  });
}

TEST_P(Cast, DecodesEveryCode) {
  for_formats([&] {
    for_codes([&](std::uint32_t code) {
      ASSERT_EQ(bits(decode(code)), bits(reference_decode(code, format_))) << std::hex << code;
    });
  });
}

TEST_P(Cast, EncodesItsOwnValuesAsTheyWere) {
  for_formats([&] {
    for_codes([&](std::uint32_t code) {
      if (std::isnan(decode(code))) return;
      ASSERT_EQ(encode(decode(code)), code) << std::hex << code;
    });
  });
}

TEST_P(Cast, HasOneNan) {
  for_formats([&] {
    const std::uint32_t nan = encode(value_of(0xffabcdefu));
    EXPECT_EQ(nan, encode(value_of(0x7f800001u)));
    EXPECT_EQ(nan & sign(), 0u);
    EXPECT_EQ(bits(decode(nan)), format_.man_bits() > 0 ? 0x7fc00000u : 0x7f800000u);
  });
}

TEST_P(Cast, IsIdempotentAndSymmetric) {
  for_formats([&] {
    for (const float x : cast_patterns(format_, 0, 2)) {
      const std::uint32_t code = encode(x);
      ASSERT_EQ(encode(decode(code)), code) << x;
      if (std::isnan(x)) continue;
      ASSERT_EQ(encode(-x), code ^ sign()) << x;
    }
  });
}

TEST_P(Cast, IsMonotone) {
  for_formats([&] {
    std::vector<float> values = cast_patterns(format_, 0, 3);
    std::erase_if(values, [](float x) { return std::isnan(x); });
    std::sort(values.begin(), values.end());
    for (std::size_t i = 1; i < values.size(); ++i) {
      ASSERT_LE(decode(encode(values[i - 1])), decode(encode(values[i])))
          << values[i - 1] << " and " << values[i];
    }
  });
}

INSTANTIATE_TEST_SUITE_P(ExponentBits, Cast, ::testing::Range(1, 9),
                         ::testing::PrintToStringParamName());

/// The OCP formats without Inf.
class FiniteCast : public ::testing::TestWithParam<Format> {};

TEST_P(FiniteCast, IsTheNearestCodeAndSaturates) {
  const Format format = GetParam();
  const FloatLayout layout = FloatLayout::of(format);
  for (const int shift : {0, -150, -3, 5, 140}) {
    for (const float x : cast_patterns(format, shift, 4)) {
      const std::uint32_t code = numerics::encode_value(x, shift, layout, false);
      ASSERT_EQ(code, reference_encode(x, format, shift)) << x << " * 2^" << shift;
      ASSERT_EQ(bits(numerics::decode_value(code, layout)), bits(reference_decode(code, format)));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Ocp, FiniteCast,
                         ::testing::Values(Format::parse("e4m3fn"), Format::parse("e3m2fn"),
                                           Format::parse("e2m3fn"), Format::parse("e2m1fn")),
                         print_format);

// Values that people can check by hand.
TEST(KnownCasts, E4m3) {
  const FloatLayout e4m3(4, 3);
  const auto cast = [&](float x) { return numerics::cast_value(x, 0, e4m3, false); };
  EXPECT_EQ(cast(240.0f), 240.0f);
  EXPECT_EQ(cast(247.99f), 240.0f);
  EXPECT_EQ(cast(248.0f), HUGE_VALF);  // the carry out of the top binade is no value
  EXPECT_EQ(cast(0x1p-10f), 0.0f);     // half of the smallest value, a tie
  EXPECT_EQ(cast(0x1.000002p-10f), 0x1p-9f);
  EXPECT_EQ(bits(cast(-0x1p-12f)), 0x80000000u);
  EXPECT_EQ(cast(17.0f), 16.0f);
  EXPECT_EQ(cast(19.0f), 20.0f);
}

TEST(KnownCasts, WithoutMantissaTiesGoAwayFromZero) {
  const FloatLayout e3m0(3, 0);
  const auto cast = [&](float x) { return numerics::cast_value(x, 0, e3m0, false); };
  EXPECT_EQ(cast(1.5f), 2.0f);
  EXPECT_EQ(cast(3.0f), 4.0f);
  EXPECT_EQ(cast(0.125f), 0.0f);
  EXPECT_EQ(cast(12.0f), HUGE_VALF);
  EXPECT_EQ(numerics::cast_value(1e30f, 0, e3m0, true), 8.0f);
}

TEST(Exact, NarrowsTheWidestSums) {
  for (int drop = 20; drop <= 28; ++drop) {
    EXPECT_EQ(numerics::narrow_sum(1 << drop, drop), 1) << drop;
    EXPECT_EQ(numerics::narrow_sum(-(3 << (drop - 2)), drop), -1) << drop;
    EXPECT_EQ(numerics::narrow_sum(1 << (drop - 1), drop), 0) << drop;  // a tie: to the even
  }
}

}  // namespace
}  // namespace cpdcomm::testing
