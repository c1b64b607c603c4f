// What casts lose is kept, and added to the next part.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "cpdcomm/codec.hpp"
#include "numerics/scale_exponent.hpp"
#include "reduction/whole_tensor.hpp"
#include "support/bits.hpp"
#include "support/patterns.hpp"

namespace cpdcomm::testing {
namespace {

using reduction::FloatTensor;
using reduction::Input;

constexpr std::size_t kCount = 2600;  // more than a block
constexpr std::int16_t kExponent = 5;

class ErrorFeedback : public ::testing::TestWithParam<const char*> {
 protected:
  /// With a residual of another scale than the part.
  ErrorFeedback() : part_(gradients(kCount, 1)), residual_(gradients(kCount, 2)) {
    for (float& x : residual_) x *= 0x1p-9f;
    for (std::size_t i = 0; i < kCount; ++i) sum_.push_back(part_[i] + residual_[i]);
  }

  FloatTensor tensor(int input_exponent = 0) {
    FloatTensor tensor = tensor_of(GetParam());
    if (reduction::takes_scale(tensor.codec)) {
      tensor.exponents = {&kExponent, 1};
      shift_ = tensor.codec.emax() - kExponent;
    }
    tensor.residual = residual_.data();
    tensor.input_exponent = input_exponent;
    return tensor;
  }

  /// decode(encode(g + r)) at the scale of the format.
  std::vector<float> cast(int input_exponent) const {
    std::vector<float> values = sum_;
    for (float& x : values) x = std::ldexp(x, input_exponent + shift_);
    return cast_of(values, GetParam(), 0, shift_ != 0);
  }

  std::vector<float> lost(int input_exponent) const {
    std::vector<float> lost = cast(input_exponent);
    for (std::size_t i = 0; i < kCount; ++i) {
      lost[i] = sum_[i] - std::ldexp(lost[i], -input_exponent - shift_);
    }
    return lost;
  }

  std::vector<float> part_;
  std::vector<float> residual_;
  std::vector<float> sum_;
  int shift_ = 0;
};

INSTANTIATE_TEST_SUITE_P(, ErrorFeedback,
                         ::testing::Values("e4m3", "e3m0", "e3m2fn", "bf16", "bfp8:64", "int2:128",
                                           "mxfp4", "sign", "fp32"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), ':', '_');
                           return name;
                         });

TEST_P(ErrorFeedback, KeepsWhatAPartLosesThatTravels) {
  for (const int input_exponent : {0, -6}) {
    const std::vector<float> before = residual_;
    WholeTensor rank(tensor(input_exponent), {part_}, {});
    const std::vector<float> wanted = lost(input_exponent);
    EXPECT_TRUE(same_bits(decoded(rank.part(), GetParam(), kCount), cast(input_exponent)));
    EXPECT_TRUE(same_bits(residual_, wanted));
    residual_ = before;
  }
}

TEST_P(ErrorFeedback, KeepsWhatAPartLosesThatStays) {
  // By hops, too, where other parts join uncast.
  for (const bool parts_travel : {true, false}) {
    const std::vector<float> before = residual_;
    WholeTensor rank(tensor(3), {part_}, {.parts_travel = parts_travel});
    std::vector<float> sum = cast(3);
    for (float& x : sum) x += 0.0f;  // sums begin at +0
    const std::vector<float> wanted = lost(3);
    for (float& x : sum) x = std::ldexp(x, -shift_);
    EXPECT_TRUE(same_bits(rank.keep({{}, 0}), sum));
    EXPECT_TRUE(same_bits(residual_, wanted));
    residual_ = before;
  }
}

TEST_P(ErrorFeedback, IsLeftAloneByATensorThatIsNotFinite) {
  const std::vector<float> before = residual_;
  FloatTensor poisoned = tensor();
  // One of three groups is enough.
  const std::vector<std::int16_t> exponents{numerics::kNothing, numerics::kNonFinite,
                                            numerics::kNothing};
  poisoned.exponents = exponents;
  poisoned.group = 1024;
  WholeTensor rank(poisoned, {part_}, {});
  rank.part();
  rank.deliver(rank.join({{}, 0}, {Payload::result, 1}));
  EXPECT_TRUE(same_bits(residual_, before));
  EXPECT_TRUE(rank->non_finite(0));
  EXPECT_FALSE(std::isnan(rank.out()[1023]));
  EXPECT_TRUE(std::isnan(rank.out()[1024]));
}

TEST_P(ErrorFeedback, KeepsNothingThatIsNotFinite) {
  part_[7] = std::numeric_limits<float>::infinity();
  part_[8] = std::numeric_limits<float>::quiet_NaN();
  part_[1200] = std::numeric_limits<float>::max();
  const std::vector<float> before = residual_;
  WholeTensor(tensor(), {part_}, {}).part();
  EXPECT_EQ(residual_[7], before[7]);
  EXPECT_EQ(residual_[8], before[8]);
  for (const float x : residual_) ASSERT_TRUE(std::isfinite(x));
}

TEST(ErrorFeedbackOfSteps, AddsUpToTheGradients) {
  // What has been sent is what was to be sent, but for one step's loss.
  std::vector<float> residual(kCount, 0.0f);
  std::vector<double> sent(kCount, 0.0);
  const std::vector<float> part = gradients(kCount, 4);
  FloatTensor tensor = tensor_of("int2:64");
  tensor.residual = residual.data();
  WholeTensor rank(tensor, {part}, {});
  for (int step = 1; step <= 50; ++step) {
    const auto values = decoded(rank.part(), "int2:64", kCount);
    for (std::size_t i = 0; i < kCount; ++i) sent[i] += values[i];
    for (std::size_t i = 0; i < kCount; ++i) {
      const double due = static_cast<double>(part[i]) * step - residual[i];
      ASSERT_NEAR(sent[i], due, 1e-5 * std::abs(due) + 1e-5);
    }
  }
}

TEST(ErrorFeedbackOfHalves, ReadsThemExactly) {
  const std::vector<std::uint16_t> halves{0x3c00, 0x4248, 0xb555, 0x0001};  // fp16
  std::vector<float> values(4);
  decode(std::as_bytes(std::span(halves)), Format::parse("fp16"), values);
  std::vector<float> residual(4, 0x1p-12f);
  FloatTensor tensor = tensor_of("e4m3");
  tensor.sources = {halves.data()};
  tensor.count = 4;
  tensor.type = DataType::fp32;
  tensor.source_type = DataType::fp16;
  tensor.residual = residual.data();
  std::vector<float> out(4);
  tensor.destination = out.data();
  const auto sum = reduction::make_float_reduction(Accumulate::wide, {tensor}, true, 1.0f);
  const reduction::Range range{0, 0, 4};
  sum->keep({&range, 1}, {{}, 0});
  for (std::size_t i = 0; i < 4; ++i) {
    const float v = values[i] + 0x1p-12f;
    EXPECT_EQ(out[i], cast_of({v}, "e4m3")[0]);
    EXPECT_EQ(residual[i], v - out[i]);
  }
}

}  // namespace
}  // namespace cpdcomm::testing
