// What is not compressed: integers, FP64 and all operators but sum and average.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "support/bits.hpp"
#include "support/ranks.hpp"
#include "support/reference_cast.hpp"

namespace cpdcomm::testing {
namespace {

template <typename T>
constexpr DataType kType = DataType::fp32;
template <>
constexpr DataType kType<double> = DataType::fp64;
template <>
constexpr DataType kType<std::int8_t> = DataType::int8;
template <>
constexpr DataType kType<std::uint8_t> = DataType::uint8;
template <>
constexpr DataType kType<std::int16_t> = DataType::int16;
template <>
constexpr DataType kType<std::int32_t> = DataType::int32;
template <>
constexpr DataType kType<std::int64_t> = DataType::int64;

/// What three ranks' values give; integers wrap.
template <typename T>
T combined(ReduceOp op, T a, T b, T c) {
  if constexpr (std::is_floating_point_v<T>) {
    switch (op) {
      case ReduceOp::sum:
        return a + b + c;
      case ReduceOp::average:
        return (a + b + c) / 3;
      case ReduceOp::product:
        return a * b * c;
      case ReduceOp::min:
        return std::fmin(std::fmin(a, b), c);
      default:
        return std::fmax(std::fmax(a, b), c);
    }
  } else {
    using U = unsigned long long;
    const U x = static_cast<U>(a);
    const U y = static_cast<U>(b);
    const U z = static_cast<U>(c);
    switch (op) {
      case ReduceOp::sum:
        return static_cast<T>(x + y + z);
      case ReduceOp::product:
        return static_cast<T>(x * y * z);
      case ReduceOp::min:
        return std::min({a, b, c});
      case ReduceOp::max:
        return std::max({a, b, c});
      case ReduceOp::bit_and:
        return static_cast<T>(x & y & z);
      case ReduceOp::bit_or:
        return static_cast<T>(x | y | z);
      default:
        return static_cast<T>(x ^ y ^ z);
    }
  }
}

template <typename T>
class Exact : public ::testing::Test {
 protected:
  static T value(int rank, std::size_t i) {
    const auto mixed = static_cast<std::uint64_t>(i + 1) * 0x9e3779b97f4a7c15u *
                       static_cast<std::uint64_t>(2 * rank + 3);
    if constexpr (std::is_floating_point_v<T>) return static_cast<T>(mixed >> 44) / 1024 - 400;
    return static_cast<T>(mixed >> 20);
  }

  void expect_op(ReduceOp op, Algorithm algorithm) {
    ranks_.run([&](Communicator& self) {
      std::vector<T> values;
      for (std::size_t i = 0; i < 1000; ++i) values.push_back(value(self.rank(), i));
      const Tensor tensor{.data = values.data(), .count = values.size(), .type = kType<T>};
      self.allreduce({&tensor, 1}, {.op = op, .algorithm = algorithm});
      for (std::size_t i = 0; i < values.size(); ++i) {
        ASSERT_EQ(values[i], combined(op, value(0, i), value(1, i), value(2, i)))
            << to_string(op) << " " << i;
      }
    });
  }

  void expect_unsupported(ReduceOp op) {
    const auto outcomes = ranks_.outcomes([&](Communicator& self) {
      std::vector<T> values(5);
      const Tensor tensor{.data = values.data(), .count = values.size(), .type = kType<T>};
      self.allreduce({&tensor, 1}, {.op = op});
    });
    for (const Outcome& outcome : outcomes) {
      EXPECT_TRUE(outcome.is(ErrorCode::unsupported)) << outcome;
      EXPECT_NE(outcome.message.find(to_string(op)), std::string::npos) << outcome;
    }
  }

  Ranks ranks_{3};
};

using Types = ::testing::Types<float, double, std::int8_t, std::uint8_t, std::int16_t, std::int32_t,
                               std::int64_t>;
TYPED_TEST_SUITE(Exact, Types);

TYPED_TEST(Exact, EveryOperator) {
  for (const auto op : {ReduceOp::sum, ReduceOp::product, ReduceOp::min, ReduceOp::max,
                        ReduceOp::bit_and, ReduceOp::bit_or, ReduceOp::bit_xor}) {
    const bool bitwise = op >= ReduceOp::bit_and;
    if (std::is_floating_point_v<TypeParam> && bitwise) {
      this->expect_unsupported(op);
      continue;
    }
    this->expect_op(op, Algorithm::direct);
    // Floats have another order round a ring.
    if (!std::is_floating_point_v<TypeParam> || op == ReduceOp::min || op == ReduceOp::max) {
      this->expect_op(op, Algorithm::ring);
    }
  }
}

TYPED_TEST(Exact, AverageOfFloatsOnly) {
  if (std::is_floating_point_v<TypeParam>) {
    this->expect_op(ReduceOp::average, Algorithm::direct);
  } else {
    this->expect_unsupported(ReduceOp::average);
  }
}

TEST(ExactHalves, AreRoundedAfterEveryOperation) {
  for (const auto type : {DataType::bf16, DataType::fp16}) {
    const Format format = Format::parse(to_string(type));
    const auto code = [&](float x) {
      return static_cast<std::uint16_t>(reference_encode(x, format));
    };
    Ranks ranks(3);
    ranks.run([&](Communicator& self) {
      const float own = 1.0f + static_cast<float>(self.rank()) / 64.0f;
      std::vector<std::uint16_t> codes(20, code(own));
      const Tensor tensor{.data = codes.data(), .count = codes.size(), .type = type};
      self.allreduce({&tensor, 1}, {.op = ReduceOp::product, .algorithm = Algorithm::direct});
      const float two = reference_decode(code(1.0f * (1.0f + 1.0f / 64.0f)), format);
      EXPECT_EQ(codes[19], code(two * (1.0f + 2.0f / 64.0f)));
      codes.assign(20, code(own));
      self.allreduce({&tensor, 1}, {.op = ReduceOp::max});
      EXPECT_EQ(codes[0], code(1.0f + 2.0f / 64.0f));
    });
  }
}

TEST(ExactFloats, LoseNoNan) {
  Ranks ranks(3);
  for (const auto op : {ReduceOp::min, ReduceOp::max, ReduceOp::product}) {
    for (const auto algorithm : {Algorithm::direct, Algorithm::ring}) {
      for (int bringer = 0; bringer < 3; ++bringer) {
        ranks.run([&](Communicator& self) {
          std::vector<float> values(30, 1.0f);
          std::vector<double> doubles(30, 1.0);
          if (self.rank() == bringer) {
            values[7] = std::numeric_limits<float>::quiet_NaN();
            doubles[29] = std::numeric_limits<double>::quiet_NaN();
          }
          const std::vector<Tensor> tensors{
              {.data = values.data(), .count = 30},
              {.data = doubles.data(), .count = 30, .type = DataType::fp64}};
          const Report report = self.allreduce(tensors, {.op = op, .algorithm = algorithm});
          EXPECT_TRUE(std::isnan(values[7]));
          EXPECT_TRUE(std::isnan(doubles[29]));
          EXPECT_EQ(values[8], 1.0f);
          EXPECT_EQ(report.non_finite, (std::vector<bool>{true, true}));
        });
      }
    }
  }
}

TEST(ExactFloats, AreNotCompressed) {
  Ranks ranks(2);
  ranks.run([&](Communicator& self) {
    std::vector<float> values(10, 1.0f + 0x1p-20f * static_cast<float>(self.rank()));
    self.allreduce(values, {.op = ReduceOp::max, .wire = Format::parse("e3m0")});
    EXPECT_EQ(values[3], 1.0f + 0x1p-20f);
  });
}

}  // namespace
}  // namespace cpdcomm::testing
