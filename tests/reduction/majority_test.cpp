#include "reduction/majority.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <memory>

#include "reduction/element.hpp"
#include "reduction/join_trees.hpp"
#include "support/bits.hpp"
#include "support/random.hpp"

namespace cpdcomm::testing {
namespace {

using reduction::IntegerTensor;
using reduction::Majority;
using reduction::Range;
using reduction::Reduction;
using Bytes = std::vector<std::byte>;
using Values = std::vector<float>;

/// Values of either sign, zeros of both among them, so that ties come about.
Values any_signs(Random& random, std::size_t count) {
  Values values(count);
  for (float& x : values) {
    const float magnitude =
        random.below(4) == 0 ? 0.0f : 0.25f + static_cast<float>(random.below(9));
    x = random.below(2) == 0 ? magnitude : -magnitude;
  }
  return values;
}

/// One vote of all ranks on tensors of these lengths.
class Vote {
 public:
  Vote(std::size_t ranks, std::size_t nodes, DataType type = DataType::fp32,
       DataType result_type = DataType::fp32, int exponent = 0)
      : type_(type), result_type_(result_type), exponent_(exponent) {
    Random random(static_cast<unsigned>(10 * ranks + nodes));
    for (std::size_t rank = 0; rank < ranks; ++rank) {
      parts_.emplace_back();
      for (const std::size_t count : kCounts) {
        parts_.back().emplace_back();
        for (std::size_t node = 0; node < nodes; ++node) {
          parts_.back().back().push_back(any_signs(random, count));
        }
      }
    }
    prepare();
  }

  void spoil(std::size_t tensor) {
    for (auto& words : words_) words[tensor] = 1;
  }

  Bytes take(unsigned seed) {
    Random random(seed);
    return reduce_at_random(all_, random);
  }

  Majority& rank(std::size_t rank) { return *votes_[rank]; }
  const std::vector<Reduction*>& all() const { return all_; }

  Values result(std::size_t rank, std::size_t tensor) const {
    Values values(kCounts[tensor]);
    reduction::codec_of(result_type_)
        .decode(results_[rank][tensor].data(), values.size(), values.data());
    return values;
  }

  Values expected(std::size_t tensor) const {
    Values values(kCounts[tensor]);
    for (std::size_t i = 0; i < values.size(); ++i) {
      int sum = 0;
      for (const auto& rank : parts_) {
        for (const Values& node : rank[tensor]) sum += std::signbit(node[i]) ? -1 : 1;
      }
      const float sign = sum == 0 ? 0.0f : sum > 0 ? 1.0f : -1.0f;
      values[i] = std::ldexp(sign, exponent_);
    }
    return values;
  }

  void expect_results() const {
    for (std::size_t tensor = 0; tensor < std::size(kCounts); ++tensor) {
      for (std::size_t rank = 0; rank < parts_.size(); ++rank) {
        ASSERT_TRUE(same_bits(result(rank, tensor), expected(tensor)));
      }
    }
  }

  static constexpr std::size_t kCounts[] = {1003, 8, 2500};

 private:
  void prepare() {
    words_.assign(parts_.size(), std::vector<std::uint32_t>(std::size(kCounts)));
    results_.resize(parts_.size());
    for (std::size_t rank = 0; rank < parts_.size(); ++rank) {
      std::vector<IntegerTensor> tensors;
      for (std::size_t t = 0; t < std::size(kCounts); ++t) tensors.push_back(tensor(rank, t));
      votes_.push_back(std::make_unique<Majority>(tensors));
      all_.push_back(votes_.back().get());
    }
  }

  IntegerTensor tensor(std::size_t rank, std::size_t t) {
    reduction::Gradients from{{}, kCounts[t], type_};
    for (const Values& node : parts_[rank][t]) {
      Bytes& bytes = *stored_.emplace_back(std::make_unique<Bytes>(node.size() * size_of(type_)));
      reduction::codec_of(type_).encode(node.data(), node.size(), {}, bytes.data());
      from.sources.push_back(bytes.data());
    }
    Bytes& result = results_[rank].emplace_back(kCounts[t] * size_of(result_type_));
    return {from, result.data(), result_type_, {&words_[rank][t], 1}, exponent_};
  }

  DataType type_;
  DataType result_type_;
  int exponent_;
  std::vector<std::vector<std::vector<Values>>> parts_;  // [rank][tensor][node]
  std::vector<std::unique_ptr<Bytes>> stored_;
  std::vector<std::vector<std::uint32_t>> words_;  // [rank][tensor]
  std::vector<std::vector<Bytes>> results_;        // [rank][tensor]
  std::vector<std::unique_ptr<Majority>> votes_;
  std::vector<Reduction*> all_;
};

TEST(Majority, IsTheSignThatMostHaveHoweverItComesAbout) {
  for (const auto& [ranks, nodes] :
       {std::pair{1u, 1u}, {2u, 1u}, {3u, 1u}, {4u, 1u}, {9u, 1u}, {1u, 4u}, {3u, 2u}, {5u, 3u}}) {
    Vote vote(ranks, nodes);
    for (unsigned seed = 1; seed <= 4; ++seed) {
      SCOPED_TRACE(::testing::Message() << ranks << " ranks, " << nodes << " nodes, tree " << seed);
      vote.take(seed);
      vote.expect_results();
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
}

TEST(Majority, CountsZerosByTheirSignBits) {
  Values values{0.0f, -0.0f, 1e-45f, -1e-45f};
  Values out(4);
  std::uint32_t word = 0;
  const reduction::Gradients from{{values.data()}, 4, DataType::fp32};
  Majority alone({{from, out.data(), DataType::fp32, {&word, 1}}});
  const Range all{0, 0, 4};
  alone.keep({&all, 1}, {});
  EXPECT_EQ(out, (Values{1.0f, -1.0f, 1.0f, -1.0f}));
}

TEST(Majority, SendsOneBitThenSumsThenTwoBits) {
  Vote one(3, 1);
  for (const Leg leg : {Leg::inside_host, Leg::across_hosts}) {
    EXPECT_EQ(one.rank(0).bytes(0, 80, {Payload::part, 1, leg}), 10u);
    EXPECT_EQ(one.rank(0).bytes(0, 80, {Payload::part, 2, leg}), 30u);     // -2 .. 2
    EXPECT_EQ(one.rank(0).bytes(0, 80, {Payload::partial, 3, leg}), 30u);  // -3 .. 3
    EXPECT_EQ(one.rank(0).bytes(0, 80, {Payload::partial, 4, leg}), 40u);
    EXPECT_EQ(one.rank(0).bytes(0, 80, {Payload::result, 3, leg}), 20u);
  }
  Vote emulated(3, 4);
  EXPECT_EQ(emulated.rank(0).bytes(0, 80, {Payload::part, 1}), 40u);
}

TEST(Majority, TakesAndGivesHalvesAndPowersOfTwo) {
  for (const DataType type : {DataType::bf16, DataType::fp16}) {
    for (const DataType to : {type, DataType::fp32}) {
      Vote vote(4, 2, type, to, -3);
      vote.take(5);
      vote.expect_results();
    }
  }
}

TEST(Majority, OfATensorThatIsNotFiniteIsNan) {
  Vote vote(3, 1);
  vote.spoil(0);
  vote.take(6);
  for (std::size_t rank = 0; rank < 3; ++rank) {
    for (const float x : vote.result(rank, 0)) ASSERT_EQ(bits(x), 0x7fc00000u);
    EXPECT_TRUE(same_bits(vote.result(rank, 2), vote.expected(2)));
    EXPECT_TRUE(vote.rank(rank).non_finite(0));
    EXPECT_FALSE(vote.rank(rank).non_finite(2));
  }
}

TEST(Majority, IsKeptAtTheEndOfAReduceScatter) {
  Vote vote(5, 1);
  Random random(7);
  const Range all{0, 0, Vote::kCounts[0]};
  const JoinTree tree = join_at_random(vote.all(), {&all, 1}, random, true);
  EXPECT_TRUE(same_bits(vote.result(tree.keeper, 0), vote.expected(0)));
}

}  // namespace
}  // namespace cpdcomm::testing
