#include "codec/exact.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "codec/integers.hpp"
#include "codec/layout.hpp"
#include "codec/targets.hpp"
#include "cpdcomm/error.hpp"
#include "support/bits.hpp"
#include "support/formats.hpp"
#include "support/patterns.hpp"
#include "support/random.hpp"

namespace cpdcomm::testing {
namespace {

using codec::Exact;
using Words = std::vector<std::uint32_t>;
using Integers = std::vector<std::int32_t>;
using Parts = std::vector<std::vector<float>>;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

/// All ranks' parts of one exact sum, and what it must give, in 64-bit integers.
class Sum {
 public:
  Sum(Format format, Parts parts)
      : format_(format),
        parts_(std::move(parts)),
        exact_(format, world()),
        count_(parts_[0].size()),
        words_(exact_.blocks(count_)) {
    for (const auto& part : parts_) {
      Words own(words_.size());
      exact_.scales(part.data(), count_, own.data());
      for (std::size_t b = 0; b < own.size(); ++b) words_[b] = std::max(words_[b], own[b]);
    }
  }

  const Exact& exact() const { return exact_; }
  const Words& words() const { return words_; }
  std::uint32_t world() const { return static_cast<std::uint32_t>(parts_.size()); }
  std::size_t count() const { return count_; }

  Integers integers(std::size_t rank, std::optional<RandomStream> stochastic = {}) const {
    Integers integers(count_);
    exact_.integers(parts_[rank].data(), count_, words_.data(), stochastic, integers.data());
    return integers;
  }

  /// Of all parts.
  Integers sum() const {
    Integers sum(count_);
    for (std::size_t rank = 0; rank < world(); ++rank) {
      const Integers part = integers(rank);
      for (std::size_t i = 0; i < count_; ++i) sum[i] += part[i];
    }
    return sum;
  }

  std::vector<float> values(const Integers& sum) const {
    std::vector<float> values(count_);
    exact_.values(sum.data(), count_, words_.data(), 0, values.data());
    return values;
  }

  std::vector<float> wire_result(Integers sum, std::optional<RandomStream> stochastic = {}) const {
    exact_.cast_result(sum.data(), count_, stochastic);
    std::vector<float> values(count_);
    exact_.values(sum.data(), count_, words_.data(), exact_.result_growth(), values.data());
    return values;
  }

  double step(std::size_t i) const {
    const std::uint32_t word = words_[i / format_.block()];
    const int magnitude_bits = format_.code_bits() - 1;
    if (format_.kind() == Format::Kind::bfp) {
      return word == 255 ? kNan : std::ldexp(1.0, static_cast<int>(word) - 126 - magnitude_bits);
    }
    const float largest = value_of(word);
    return std::isfinite(largest) ? largest / static_cast<float>(most()) : kNan;
  }
  std::int64_t most() const { return (std::int64_t{1} << (format_.code_bits() - 1)) - 1; }

  /// The sum of value i as an integer.
  std::int32_t integer(std::size_t i) const {
    if (std::isnan(step(i)) || step(i) == 0) return 0;
    std::int64_t sum = 0;
    for (const auto& part : parts_) {
      // A power of two divides exactly; intK divides in FP32.
      const double quotient = format_.kind() == Format::Kind::bfp
                                  ? part[i] / step(i)
                                  : static_cast<double>(part[i] / static_cast<float>(step(i)));
      sum += std::clamp(static_cast<std::int64_t>(std::nearbyint(quotient)), -most(), most());
    }
    return static_cast<std::int32_t>(sum);
  }

  float value(double integer, double on) const {
    const float rounded = static_cast<float>(integer * on);
    return std::isinf(rounded) ? std::copysign(0x1.fffffep127f, rounded) : rounded;
  }
  float expected(std::size_t i) const {
    return std::isnan(step(i)) ? kNan : value(static_cast<double>(integer(i)), step(i));
  }
  float expected_wire(std::size_t i) const {
    if (std::isnan(step(i))) return kNan;
    const double times = std::exp2(std::ceil(std::log2(static_cast<double>(world()))));
    // The integer 0 has no sign.
    return value(std::nearbyint(static_cast<double>(integer(i)) / times) + 0.0, step(i) * times);
  }

 private:
  Format format_;
  Parts parts_;
  Exact exact_;
  std::size_t count_;
  Words words_;
};

Parts gradients_of(std::uint32_t world, std::size_t count) {
  Parts parts;
  for (unsigned rank = 0; rank < world; ++rank) parts.push_back(gradients(count, 100 + rank));
  return parts;
}

class ExactSums : public ::testing::TestWithParam<Format> {
 protected:
  void expect_sums(const Sum& sum) const {
    Integers integers;
    std::vector<float> values;
    std::vector<float> wire;
    for (std::size_t i = 0; i < sum.count(); ++i) {
      integers.push_back(sum.integer(i));
      values.push_back(sum.expected(i));
      wire.push_back(sum.expected_wire(i));
    }
    EXPECT_EQ(sum.sum(), integers);
    EXPECT_TRUE(same_bits(sum.values(integers), values));
    EXPECT_TRUE(same_bits(sum.wire_result(integers), wire));
    expect_room(sum, integers);
  }

  /// In the bits that a sum of all parts takes, it comes back.
  static void expect_room(const Sum& sum, const Integers& integers) {
    const int width = sum.exact().bits(sum.world());
    std::vector<std::byte> packed(codec::packed_bytes(integers.size(), width));
    codec::pack_integers(integers.data(), integers.size(), width, packed.data());
    Integers back(integers.size());
    codec::unpack_integers(packed.data(), back.size(), width, back.data());
    EXPECT_EQ(back, integers);
  }
};

TEST_P(ExactSums, AreThoseOfIntegers) {
  for (const std::uint32_t world : {1u, 2u, 3u, 4u, 5u, 7u, 32u}) {
    for (const std::size_t count : {0u, 1u, 7u, 8u, 17u, 64u, 203u, 4100u}) {
      SCOPED_TRACE(::testing::Message() << world << " ranks, " << count << " values");
      expect_sums(Sum(GetParam(), gradients_of(world, count)));
    }
  }
}

TEST_P(ExactSums, HoldAllRanksAtTheLargestValue) {
  for (const float most : {1.0f, -1.0f, 0x1.fffffep127f, -0x1.fffffep127f, 0x1.fffffep-127f}) {
    for (const std::uint32_t world : {3u, 4u, 32u}) {
      expect_sums(Sum(GetParam(), Parts(world, std::vector<float>(19, most))));
    }
  }
}

TEST_P(ExactSums, AreZeroForZeroBlocksAndNanForNanBlocks) {
  const std::size_t block = GetParam().block();
  for (const float spoiled : {kNan, HUGE_VALF, -HUGE_VALF}) {
    Parts parts = gradients_of(3, 3 * block + 5);
    for (auto& part : parts) std::fill_n(part.begin(), block, -0.0f);
    parts[1][block + 3] = spoiled;
    const Sum sum(GetParam(), parts);
    expect_sums(sum);
    const std::vector<float> values = sum.values(sum.sum());
    for (std::size_t i = 0; i < values.size(); ++i) {
      EXPECT_EQ(std::isnan(values[i]), i / block == 1) << i;
      if (i < block) {
        EXPECT_EQ(bits(values[i]), 0u);
      }
    }
  }
}

TEST_P(ExactSums, RoundStochasticallyToNeighboursWhereverTheyAreCut) {
  const std::size_t block = GetParam().block();
  const Sum sum(GetParam(), gradients_of(2, 4 * block));
  const RandomStream stream{.seed = 3, .rank = 1};
  const Integers whole = sum.integers(0, stream);

  RandomStream later = stream;
  later.first = block;
  const std::vector<float> in = gradients_of(2, 4 * block)[0];
  Integers cut(3 * block);
  sum.exact().integers(in.data() + block, cut.size(), sum.words().data() + 1, later, cut.data());
  EXPECT_TRUE(std::equal(cut.begin(), cut.end(), whole.begin() + static_cast<long>(block)));

  for (std::size_t i = 0; i < whole.size(); ++i) {
    if (sum.step(i) == 0) continue;
    const double quotient = in[i] / sum.step(i);
    EXPECT_LE(std::abs(whole[i] - quotient), 1.0 + 1e-6 * std::abs(quotient)) << i;
    EXPECT_LE(std::abs(whole[i]), sum.most());
  }

  const std::vector<float> wire = sum.wire_result(sum.sum(), stream);
  for (std::size_t i = 0; i < wire.size(); ++i) {
    if (sum.step(i) == 0) continue;
    const double halves = static_cast<double>(sum.integer(i)) / 2;
    EXPECT_LT(std::abs(wire[i] / (2 * sum.step(i)) - halves), 1.0) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Widths, ExactSums,
                         ::testing::Values(Format::parse("bfp2:8"), Format::parse("bfp3:16"),
                                           Format::parse("bfp8"), Format::parse("bfp13:24"),
                                           Format::parse("bfp24"), Format::parse("int2:8"),
                                           Format::parse("int4"), Format::parse("int8:64"),
                                           Format::parse("int17:8"), Format::parse("int24:32"),
                                           Format::parse("bfp6:2000")),
                         [](const ::testing::TestParamInfo<Format>& test) {
                           std::string name = test.param.to_string();
                           std::replace(name.begin(), name.end(), ':', '_');
                           return name;
                         });

/// Any finite bits, many of them subnormal or with ties.
std::vector<float> any_values(Random& random, std::size_t count) {
  std::vector<float> values(count);
  const std::uint32_t exponent = random.below(240);
  for (float& x : values) {
    std::uint32_t word = random();
    if (random.below(3) == 0) word &= 0xfff00000u;
    if (random.below(3) != 0) word = (word & 0x807fffffu) | (exponent + random.below(14)) << 23;
    x = value_of(word);
    if (!std::isfinite(x)) x = 0.0f;
  }
  return values;
}

/// Every instruction set gives the bits of the plain steps, on scales of other ranks too.
class ExactTargets : public ::testing::TestWithParam<std::string> {
 protected:
  static constexpr std::uint32_t kWorld = 23;

  void TearDown() override { codec::use_target(codec::targets().front()); }

  /// What `work` gives with this target must be what it gives with the plain one.
  template <typename F>
  void expect_alike(F&& work) {
    codec::use_target(GetParam());
    const auto got = work();
    codec::use_target("plain");
    ASSERT_EQ(got, work());
  }

  /// A rank's own words, some of them raised by other ranks, or NaN.
  static Words shared_words(const Exact& exact, const std::vector<float>& values, Random& random) {
    Words words(exact.blocks(values.size()));
    exact.scales(values.data(), values.size(), words.data());
    for (std::uint32_t& word : words) {
      const float raised = std::ldexp(1.5f, static_cast<int>(random.below(200)) - 100);
      if (random.below(2) == 0) word = std::max(word, exact.word(bits(raised)));
      if (random.below(16) == 0) word = exact.word(bits(HUGE_VALF));
    }
    return words;
  }

  template <typename F>
  void for_cases(F&& check) {
    Random random(5);
    for (const char* name :
         {"bfp2:8", "bfp3:24", "bfp4", "bfp8", "bfp9:40", "bfp12:4096", "bfp16", "bfp24:512",
          "int2", "int3:2000", "int4:64", "int8", "int11:24", "int16:128", "int24"}) {
      for (const std::size_t count : {0u, 1u, 63u, 64u, 256u, 1000u, 1536u, 5003u}) {
        SCOPED_TRACE(::testing::Message() << count << " values of " << name);
        const Exact exact(Format::parse(name), kWorld);
        const std::vector<float> values = any_values(random, count);
        const Words words = shared_words(exact, values, random);
        for (const bool stochastic : {false, true}) {
          std::optional<RandomStream> draws;
          if (stochastic) draws = RandomStream{1, 2, 3, 4, 5, random()};
          check(exact, values, words, draws);
          if (::testing::Test::HasFatalFailure()) return;
        }
      }
    }
  }

  /// Sums of any size that kWorld parts can have.
  static Integers any_sums(const Exact& exact, std::size_t count) {
    Random random(6);
    Integers sums(count);
    const std::int32_t most = ((1 << (exact.bits(1) - 1)) - 1) * static_cast<std::int32_t>(kWorld);
    for (std::int32_t& sum : sums) {
      sum =
          static_cast<std::int32_t>(random.below(2 * static_cast<std::uint32_t>(most) + 1)) - most;
    }
    return sums;
  }
};

TEST_P(ExactTargets, CountAlike) {
  for_cases([&](const Exact& exact, const auto& values, const Words& words, const auto& draws) {
    expect_alike([&] {
      Integers integers(values.size());
      exact.integers(values.data(), values.size(), words.data(), draws, integers.data());
      return integers;
    });
  });
}

TEST_P(ExactTargets, GiveValuesAlike) {
  for_cases([&](const Exact& exact, const auto& values, const Words& words, const auto& draws) {
    const Integers sums = any_sums(exact, values.size());
    for (const int up : {0, 5, draws ? 300 : -300}) {
      expect_alike([&] {
        std::vector<float> decoded(sums.size());
        exact.values(sums.data(), sums.size(), words.data(), up, decoded.data());
        std::vector<std::uint32_t> all;
        for (const float x : decoded) all.push_back(bits(x));
        return all;
      });
    }
  });
}

TEST_P(ExactTargets, CastResultsAlike) {
  for_cases([&](const Exact& exact, const auto& values, const Words& /*words*/, const auto& draws) {
    expect_alike([&] {
      Integers sums = any_sums(exact, values.size());
      exact.cast_result(sums.data(), sums.size(), draws);
      return sums;
    });
  });
}

INSTANTIATE_TEST_SUITE_P(Of, ExactTargets, ::testing::ValuesIn(codec::targets()),
                         [](const auto& test) { return test.param; });

TEST(ExactSum, RefusesWhatIsNotExact) {
  EXPECT_NO_THROW(Exact(Format::parse("int24"), 32));
  for (const auto& [name, world] : {std::pair{"int24", 33u}, {"bfp8", (1u << 21) + 1u}}) {
    try {
      Exact(Format::parse(name), world);
      FAIL() << name;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::unsupported);
      const std::string what = error.what();
      EXPECT_NE(what.find(fmt::format("{} parts of {} takes 30 bits", world, name)),
                std::string::npos)
          << what;
      EXPECT_NE(what.find(fmt::format("hold {} parts", world - 1)), std::string::npos) << what;
    }
  }
  for (const char* name : {"e4m3", "fp32", "mxint8", "sign"}) {
    EXPECT_THROW(Exact(Format::parse(name), 2), Error) << name;
  }
}

}  // namespace
}  // namespace cpdcomm::testing
