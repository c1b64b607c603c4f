#include "reduction/shared_scales.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "numerics/scale_exponent.hpp"
#include "support/reference_cast.hpp"

namespace cpdcomm::testing {
namespace {

using reduction::ScaledTensor;
using reduction::SharedScales;

/// This rank's words of a tensor, as they would travel.
std::vector<std::int16_t> exponents_of(const reduction::Gradients& gradients, std::size_t group,
                                       std::uint64_t world) {
  std::vector<std::int16_t> words(reduction::groups(gradients.count, group));
  SharedScales<std::int16_t> scales({{gradients, group, words}}, reduction::aps_words(world));
  const reduction::Range all{0, 0, words.size()};
  std::vector<std::int16_t> out(words.size());
  scales.encode_part({&all, 1}, {}, Leg::across_hosts, reinterpret_cast<std::byte*>(out.data()));
  return out;
}

std::vector<std::int16_t> exponents(const std::vector<std::vector<float>>& parts, std::size_t group,
                                    std::uint64_t world) {
  reduction::Gradients gradients{{}, parts[0].size(), DataType::fp32};
  for (const auto& part : parts) gradients.sources.push_back(part.data());
  return exponents_of(gradients, group, world);
}

using Exponents = std::vector<std::int16_t>;

TEST(ScaleExponents, AreOneForEachGroup) {
  EXPECT_EQ(reduction::groups(100, 0), 1u);
  EXPECT_EQ(reduction::groups(100, 8), 13u);
  EXPECT_EQ(reduction::groups(96, 8), 12u);
  EXPECT_EQ(reduction::groups(1, 4096), 1u);
}

TEST(ScaleExponents, LookAtEveryPartOfTheirGroupOnly) {
  std::vector<std::vector<float>> parts(2, std::vector<float>(20, 0.0f));
  parts[0][7] = -4.0f;
  parts[1][8] = 0x1p-140f;
  EXPECT_EQ(exponents(parts, 8, 2), (Exponents{3, -139, numerics::kNothing}));
  EXPECT_EQ(exponents(parts, 0, 2), Exponents{3});
  parts[1][19] = -HUGE_VALF;
  EXPECT_EQ(exponents(parts, 8, 2), (Exponents{3, -139, numerics::kNonFinite}));
  EXPECT_EQ(exponents(parts, 0, 2), Exponents{numerics::kNonFinite});
  parts[0][0] = NAN;
  EXPECT_EQ(exponents(parts, 8, 2)[0], numerics::kNonFinite);
}

TEST(ScaleExponents, ReadTypesOfSixteenBits) {
  for (const auto type : {DataType::bf16, DataType::fp16}) {
    const Format format = Format::parse(to_string(type));
    std::vector<std::uint16_t> codes(3000, 0);
    codes[2999] = static_cast<std::uint16_t>(reference_encode(-3.0f, format));
    codes[1] = static_cast<std::uint16_t>(reference_encode(0x1p-10f, format));
    EXPECT_EQ(exponents_of({{codes.data()}, codes.size(), type}, 1024, 4),
              (Exponents{-8, numerics::kNothing, 4}));
  }
}

}  // namespace
}  // namespace cpdcomm::testing
