#include "collective/aps.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "numerics/scale_exponent.hpp"
#include "support/reference_cast.hpp"

namespace cpdcomm::testing {
namespace {

using collective::exponent_count;
using collective::scale_exponents;

std::vector<std::int16_t> exponents(const std::vector<std::vector<float>>& parts, std::size_t group,
                                    std::uint64_t world) {
  std::vector<const void*> pointers;
  for (const auto& part : parts) pointers.push_back(part.data());
  const std::size_t count = parts[0].size();
  std::vector<std::int16_t> out(exponent_count(count, group));
  scale_exponents(pointers, count, DataType::fp32, group, world, out);
  return out;
}

using Exponents = std::vector<std::int16_t>;

TEST(ScaleExponents, AreOneForEachGroup) {
  EXPECT_EQ(exponent_count(100, 0), 1u);
  EXPECT_EQ(exponent_count(100, 8), 13u);
  EXPECT_EQ(exponent_count(96, 8), 12u);
  EXPECT_EQ(exponent_count(1, 4096), 1u);
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
    const void* data = codes.data();
    Exponents out(3);
    scale_exponents({&data, 1}, codes.size(), type, 1024, 4, out);
    EXPECT_EQ(out, (Exponents{-8, numerics::kNothing, 4}));
  }
}

}  // namespace
}  // namespace cpdcomm::testing
