// Power-of-two factors, element types, and the exponents that parts bring along.
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
using reduction::Host;
using reduction::Input;

constexpr std::size_t kCount = 2600;  // more than a block

std::vector<float> times(std::vector<float> values, int exponent) {
  for (float& x : values) x = std::ldexp(x, exponent);
  return values;
}

class Factors : public ::testing::TestWithParam<const char*> {};

INSTANTIATE_TEST_SUITE_P(, Factors,
                         ::testing::Values("fp32", "e4m3", "e3m2fn", "bf16", "bfp8:64", "int4:128",
                                           "mxfp4", "sign"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::replace(name.begin(), name.end(), ':', '_');
                           return name;
                         });

TEST_P(Factors, OnTheWayInAreAsIfThePartHadBeenMultiplied) {
  std::vector<float> part = gradients(kCount, 1);
  for (float& x : part) {
    if (std::abs(x) < 0x1p-60f) x = 0;  // so that the factor is exact
  }
  const std::int16_t exponent = -17;  // of the product
  for (const bool parts_travel : {true, false}) {
    FloatTensor plain = tensor_of(GetParam());
    if (reduction::takes_scale(plain.codec)) plain.exponents = {&exponent, 1};
    FloatTensor with = plain;
    with.input_exponent = -20;
    WholeTensor got(with, {part}, {.parts_travel = parts_travel});
    WholeTensor wanted(plain, {times(part, -20)}, {.parts_travel = parts_travel});
    EXPECT_EQ(got.part(), wanted.part());
    const reduction::Join alone{{}, 0};
    EXPECT_EQ(got.join(alone, {Payload::result, 1}), wanted.join(alone, {Payload::result, 1}));
    EXPECT_TRUE(same_bits(got.keep(alone), wanted.keep(alone)));
  }
}

TEST_P(Factors, OnTheWayOutComeBeforeTheAverage) {
  const std::int16_t exponent = 3;
  FloatTensor plain = tensor_of(GetParam());
  if (reduction::takes_scale(plain.codec)) plain.exponents = {&exponent, 1};
  FloatTensor with = plain;
  with.output_exponent = 11;
  const std::vector<float> part = gradients(kCount, 2);
  WholeTensor got(with, {part}, {.divisor = 3});
  WholeTensor wanted(plain, {part}, {});
  const Bytes result = wanted.join({{}, 0}, {Payload::result, 1});
  std::vector<float> sum = times(wanted.deliver(result), 11);
  for (float& x : sum) x /= 3;
  EXPECT_TRUE(same_bits(got.deliver(result), sum));
}

TEST(FactorsOfHosts, ComeBeforeFp32Messages) {
  FloatTensor tensor = tensor_of("e4m3");
  tensor.inner = codec::codec_for(Format());
  tensor.input_exponent = -4;
  const std::int16_t exponent = 3;
  tensor.exponents = {&exponent, 1};
  const std::vector<float> mine = gradients(kCount, 3);
  const std::vector<float> other = gradients(kCount, 4);
  WholeTensor neighbour(tensor, {other}, {.host_ranks = {0, 1}});
  const Bytes bytes = neighbour.part({}, Leg::inside_host);
  EXPECT_TRUE(same_bits(decoded(bytes, "fp32", kCount), times(other, -4)));
  WholeTensor holder(tensor, {mine}, {.host_ranks = {0, 1}});
  const Input input{bytes.data(), Payload::part, 1};
  std::vector<float> sum = times(mine, -4);
  for (std::size_t i = 0; i < kCount; ++i) sum[i] += std::ldexp(other[i], -4);
  EXPECT_TRUE(same_bits(decoded(holder.part({{&input, 1}, 0}), "e4m3", kCount),
                        cast_of(sum, "e4m3", tensor.codec.emax() - 3, true)));
}

/// Three ranks with `delayed` scaling; the first two are on one host.
class Delayed : public ::testing::Test {
 protected:
  static constexpr int kRanks = 3;

  WholeTensor rank(std::size_t number, std::vector<std::uint32_t> host_ranks = {}) {
    FloatTensor tensor = tensor_of("e4m3");
    tensor.exponents = {&used_, 1};
    tensor.delayed_world = kRanks;
    return {tensor, {parts_[number]}, {.host_ranks = std::move(host_ranks)}};
  }

  /// A reduction at rank 1, and its result.
  Bytes result(WholeTensor& owner) {
    first_ = rank(0).part();
    last_ = rank(2).part();
    const std::vector<Input> inputs{{first_.data(), Payload::part, 1},
                                    {last_.data(), Payload::part, 1}};
    return owner.join({inputs, 1}, {Payload::result, kRanks});
  }

  /// Whose largest product with the ranks is 3 * 3 < 2^4.
  std::vector<std::vector<float>> parts_{std::vector<float>(kCount, 1.0f),
                                         std::vector<float>(kCount, -2.0f),
                                         std::vector<float>(kCount, 0.25f)};
  std::int16_t used_ = 4;
  Bytes first_;
  Bytes last_;
};

TEST_F(Delayed, ExponentReachesAllWhoeverHasTheLargestValue) {
  for (std::size_t number = 0; number < kRanks; ++number) {
    const auto before = parts_[number];
    parts_[number][1400] = 3.0f;
    WholeTensor owner = rank(1);
    const Bytes bytes = result(owner);
    WholeTensor other = rank(0);
    other.deliver(bytes);
    other->finish();
    EXPECT_EQ(other->largest_exponent(0), 4) << number;
    EXPECT_FALSE(other->saturated(0));
    EXPECT_FALSE(other->non_finite(0));
    EXPECT_EQ(other.out()[0], -0.75f);
    parts_[number] = before;
  }
}

TEST_F(Delayed, ExponentGoesThroughHostsAndHops) {
  parts_[0][3] = 100.0f;  // 300 < 2^9
  WholeTensor holder = rank(1, {0, 1});
  const Bytes inside = rank(0, {0, 1}).part({}, Leg::inside_host);
  const Input input{inside.data(), Payload::part, 1};
  const Bytes part = holder.part({{&input, 1}, 0});
  EXPECT_EQ(part.size(), kCount + 2);
  const Input from_host{part.data(), Payload::part, 2};
  WholeTensor last = rank(2, {2});
  const Bytes partial = last.join({{&from_host, 1}, 1}, {Payload::partial, 3});
  const Bytes sum = last.join({{&from_host, 1}, 1}, {Payload::result, 3});
  EXPECT_EQ(partial.size(), kCount + 2);
  for (const Bytes* bytes : {&partial, &sum}) {
    WholeTensor other = rank(0, {0, 1});
    other.deliver(*bytes);
    other->finish();
    EXPECT_EQ(other->largest_exponent(0), 9);
    EXPECT_TRUE(other->saturated(0));
  }
}

TEST_F(Delayed, ExponentOfAllSlicesIsKept) {
  parts_[1][8] = 5.0f;  // 15 < 2^4
  WholeTensor owner = rank(1);
  const std::vector<reduction::Range> ranges{{0, 0, 8}, {0, 8, 8}, {0, 16, 8}};
  Bytes bytes(3 * 10);
  owner->join(ranges, {{}, 0}, {Payload::result, 1}, bytes.data());
  WholeTensor other = rank(0);
  other->deliver(ranges, bytes.data());
  EXPECT_EQ(other->largest_exponent(0), 4);
  WholeTensor without = rank(0);
  without->deliver({ranges.data(), 1}, bytes.data());
  EXPECT_EQ(without->largest_exponent(0), 3);  // of 2 * 3
  EXPECT_EQ(other.out()[7], -2.0f);
  EXPECT_EQ(other.out()[8], 5.0f);
  EXPECT_EQ(other.out()[23], -2.0f);
}

TEST_F(Delayed, ExponentIsOfProductsAndResiduals) {
  std::vector<float> residual(kCount, 0.0f);
  residual[9] = -1.5f;
  FloatTensor tensor = tensor_of("e4m3");
  tensor.exponents = {&used_, 1};
  tensor.delayed_world = kRanks;
  tensor.input_exponent = 10;
  tensor.residual = residual.data();
  WholeTensor owner(tensor, {parts_[1]}, {});
  owner.deliver(owner.join({{}, 0}, {Payload::result, 1}));
  EXPECT_EQ(owner->largest_exponent(0), 14);  // 3.5 * 3 < 2^4
}

TEST_F(Delayed, CastsSaturateAndThatIsTold) {
  used_ = 1;
  parts_[1][0] = 1000.0f;
  WholeTensor owner = rank(1);
  owner.deliver(result(owner));
  owner->finish();
  EXPECT_TRUE(owner->saturated(0));
  EXPECT_FALSE(owner->non_finite(0));
  EXPECT_EQ(owner.out()[0], 1.875f * 2);  // the largest of e4m3 at 2^1
  used_ = numerics::kNothing;             // the last call's values were zeros: no scaling
  WholeTensor next = rank(1);
  next.deliver(result(next));
  EXPECT_TRUE(next->saturated(0));
  EXPECT_EQ(next.out()[0], 240.0f);
}

TEST_F(Delayed, TensorThatIsNotFiniteBecomesNanAsAWhole) {
  for (const DataType type : {DataType::fp32, DataType::bf16}) {
    parts_[2][700] = std::numeric_limits<float>::quiet_NaN();
    WholeTensor owner = rank(1);
    const Bytes bytes = result(owner);
    std::vector<float> out(kCount, 0.0f);
    FloatTensor tensor = tensor_of("e4m3");
    tensor.exponents = {&used_, 1};
    tensor.delayed_world = kRanks;
    tensor.sources = {parts_[0].data()};
    tensor.destination = out.data();
    tensor.count = kCount;
    tensor.type = type;
    tensor.source_type = DataType::fp32;
    const auto other = reduction::make_float_reduction(Accumulate::wide, {tensor}, true, 1.0f);
    const reduction::Range range{0, 0, kCount};
    other->deliver({&range, 1}, bytes.data());
    other->finish();
    EXPECT_TRUE(other->non_finite(0));
    EXPECT_FALSE(other->saturated(0));
    EXPECT_EQ(other->largest_exponent(0), numerics::kNonFinite);
    const std::uint32_t nan = type == DataType::fp32 ? 0x7fc00000u : 0x7fc07fc0u;
    const std::size_t words = type == DataType::fp32 ? kCount : kCount / 2;
    for (std::size_t i = 0; i < words; ++i) ASSERT_EQ(bits(out[i]), nan) << i;
    parts_[2][700] = 0.25f;
  }
}

TEST(ElementTypes, MayDifferOnTheWayInAndOut) {
  // 2^-20 is no fp16, and neither is the sum.
  const std::vector<std::uint16_t> halves{0x3c00, 0x7bff, 0x0001, 0x8000};  // 1, 65504, 2^-24, -0
  std::vector<float> out(4, -1.0f);
  FloatTensor tensor{};
  tensor.sources = {halves.data()};
  tensor.destination = out.data();
  tensor.count = 4;
  tensor.type = DataType::fp32;
  tensor.source_type = DataType::fp16;
  const auto sum = reduction::make_float_reduction(Accumulate::wide, {tensor}, true, 1.0f);
  const std::vector<float> other{0x1p-20f, 65504.0f, 0x1p-24f, -0.0f};
  const Input input{reinterpret_cast<const std::byte*>(other.data()), Payload::part, 1};
  const reduction::Range range{0, 0, 4};
  sum->keep({&range, 1}, {{&input, 1}, 0});
  EXPECT_TRUE(same_bits(out, std::vector<float>{1.0f + 0x1p-20f, 131008.0f, 0x1p-23f, 0.0f}));
  EXPECT_FALSE(sum->non_finite(0));
}

}  // namespace
}  // namespace cpdcomm::testing
