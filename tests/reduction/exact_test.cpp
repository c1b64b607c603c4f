#include "reduction/exact.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <thread>

#include "codec/codec.hpp"
#include "cpdcomm/error.hpp"
#include "numerics/random_word.hpp"
#include "reduction/element.hpp"
#include "reduction/join_trees.hpp"
#include "reduction/shared_scales.hpp"
#include "support/bits.hpp"
#include "support/patterns.hpp"
#include "support/random.hpp"

namespace cpdcomm::testing {
namespace {

using reduction::ExactSum;
using reduction::IntegerTensor;
using reduction::Range;
using reduction::Reduction;
using Bytes = std::vector<std::byte>;
using Values = std::vector<float>;

constexpr std::uint32_t kSeed = 11;
constexpr std::uint32_t kStep = 12;

/// What a call asks for.
struct Setting {
  Format wire = Format::parse("bfp8");
  std::uint32_t ranks = 3;
  std::uint32_t nodes = 1;
  DataType type = DataType::fp32;
  DataType result_type = DataType::fp32;
  Result result = Result::full;
  bool average = false;
  bool stochastic = false;
  std::vector<int> input_exponents = {0};  // of each rank; the last one of the others too
  int output_exponent = 0;
  std::vector<std::size_t> counts = {203, 8, 4100};

  std::uint32_t world() const { return ranks * nodes; }
};

/// Values as a tensor of some type holds them.
Bytes stored(const Values& values, DataType type) {
  Bytes bytes(values.size() * size_of(type));
  reduction::codec_of(type).encode(values.data(), values.size(), {}, bytes.data());
  return bytes;
}

Values loaded(const Bytes& bytes, DataType type) {
  Values values(bytes.size() / size_of(type));
  reduction::codec_of(type).decode(bytes.data(), values.size(), values.data());
  return values;
}

/// One rank: its gradients, where its results go, and what it makes of them.
struct Rank {
  std::vector<std::vector<Bytes>> gradients;  // [tensor][node]
  std::vector<std::vector<std::uint32_t>> words;
  std::vector<Values> residuals;  // [tensor], empty without
  std::vector<Bytes> results;
  std::unique_ptr<reduction::SharedScales<std::uint32_t>> scales;
  std::unique_ptr<ExactSum> sum;
};

/// All ranks of one call.
class Call {
 public:
  explicit Call(Setting setting, unsigned seed = 1)
      : setting_(std::move(setting)), exact_(setting_.wire, setting_.world()) {
    for (std::uint32_t rank = 0; rank < setting_.ranks; ++rank) add_rank(rank, seed);
  }

  const Setting& setting() const { return setting_; }
  std::vector<Rank>& ranks() { return ranks_; }
  const Rank& rank(std::size_t rank) const { return ranks_[rank]; }
  const codec::Exact& exact() const { return exact_; }
  int input_exponent(std::size_t rank) const {
    const auto& all = setting_.input_exponents;
    return all[std::min(rank, all.size() - 1)];
  }

  /// A part's values as they enter the sum.
  Values part(std::size_t tensor, std::uint32_t rank, std::uint32_t node) const {
    Values values = loaded(ranks_[rank].gradients[tensor][node], setting_.type);
    for (float& x : values) x = std::ldexp(x, input_exponent(rank));
    return values;
  }

  void set(std::size_t tensor, std::uint32_t rank, std::uint32_t node, std::size_t i, float value) {
    const Bytes one = stored({value}, setting_.type);
    std::ranges::copy(
        one, ranks_[rank].gradients[tensor][node].begin() + static_cast<long>(i * one.size()));
  }

  void prepare() {
    for (std::uint32_t rank = 0; rank < setting_.ranks; ++rank) prepare(rank);
  }

  void agree(Random& random) { reduce_at_random(all_scales(), random); }
  Bytes sum(Random& random) { return reduce_at_random(all_sums(), random); }
  /// Both, from the start.
  Bytes run(unsigned seed) {
    Random random(seed);
    prepare();
    agree(random);
    return sum(random);
  }

  Values result(std::size_t rank, std::size_t tensor) const {
    return loaded(ranks_[rank].results[tensor], setting_.result_type);
  }

  std::vector<Reduction*> all_scales() const {
    std::vector<Reduction*> all;
    for (const Rank& rank : ranks_) all.push_back(rank.scales.get());
    return all;
  }
  std::vector<Reduction*> all_sums() const {
    std::vector<Reduction*> all;
    for (const Rank& rank : ranks_) all.push_back(rank.sum.get());
    return all;
  }

 private:
  void add_rank(std::uint32_t rank, unsigned seed) {
    Rank made;
    for (const std::size_t count : setting_.counts) {
      made.gradients.emplace_back();
      for (std::uint32_t node = 0; node < setting_.nodes; ++node) {
        const unsigned of = seed * 1000 + rank * 100 + node;
        made.gradients.back().push_back(stored(gradients(count, of), setting_.type));
      }
      made.words.emplace_back(exact_.blocks(count));
      made.results.emplace_back(count * size_of(setting_.result_type));
    }
    made.residuals.resize(setting_.counts.size());
    ranks_.push_back(std::move(made));
  }

  void prepare(std::uint32_t at) {
    Rank& rank = ranks_[at];
    std::vector<reduction::ScaledTensor<std::uint32_t>> scaled;
    std::vector<IntegerTensor> tensors;
    for (std::size_t t = 0; t < setting_.counts.size(); ++t) {
      reduction::Gradients from{{}, setting_.counts[t], setting_.type};
      for (const Bytes& node : rank.gradients[t]) from.sources.push_back(node.data());
      if (!rank.residuals[t].empty()) from.residual = rank.residuals[t].data();
      from.input_exponent = input_exponent(at);
      scaled.push_back({from, exact_.block(), rank.words[t]});
      tensors.push_back({from, rank.results[t].data(), setting_.result_type, rank.words[t],
                         setting_.output_exponent, static_cast<std::uint32_t>(t)});
    }
    rank.scales = std::make_unique<reduction::SharedScales<std::uint32_t>>(
        scaled, reduction::exact_words(exact_));
    std::optional<RandomStream> draws;
    if (setting_.stochastic) draws = RandomStream{.seed = kSeed, .step = kStep, .rank = at};
    const float divisor = setting_.average ? static_cast<float>(setting_.world()) : 1.0f;
    rank.sum = std::make_unique<ExactSum>(tensors, exact_, setting_.result, divisor, draws);
  }

  Setting setting_;
  codec::Exact exact_;
  std::vector<Rank> ranks_;
};

/// What a call must give, in 64-bit integers and FP64, from the definition alone.
class Expected {
 public:
  Expected(const Call& call, std::size_t tensor)
      : setting_(call.setting()), tensor_(tensor), steps_(setting_.counts[tensor]) {
    for (std::uint32_t rank = 0; rank < setting_.ranks; ++rank) {
      for (std::uint32_t node = 0; node < setting_.nodes; ++node) {
        parts_.push_back(call.part(tensor, rank, node));
      }
    }
    find_steps();
  }

  double step(std::size_t i) const { return steps_[i]; }
  std::size_t count() const { return steps_.size(); }

  /// The sum of value i.
  std::int64_t integer(std::size_t i) const {
    std::int64_t sum = 0;
    for (std::uint32_t part = 0; part < parts_.size(); ++part) sum += code(part, i);
    return sum;
  }

  /// What travels back of it, and the scale it is on.
  std::int64_t travels(std::size_t i) const {
    if (setting_.result == Result::full) return integer(i);
    const double quotient = static_cast<double>(integer(i)) / times();
    return rounded(quotient, {kSeed, kStep, 0xffff, 0, tensor(), 0}, i);
  }
  double times() const {
    return setting_.result == Result::full
               ? 1.0
               : std::exp2(std::ceil(std::log2(static_cast<double>(setting_.world()))));
  }

  float value(std::size_t i) const {
    const double on = steps_[i] * times() * std::exp2(setting_.output_exponent);
    if (std::isnan(on)) return value_of(0x7fc00000u);
    const auto sum = static_cast<float>(static_cast<double>(travels(i)) * on);
    const float most = 0x1.fffffep127f;
    const float value = std::clamp(sum, -most, most);
    return setting_.average ? value / static_cast<float>(setting_.world()) : value;
  }

  Values values() const {
    Values all(count());
    for (std::size_t i = 0; i < all.size(); ++i) all[i] = value(i);
    return loaded(stored(all, setting_.result_type), setting_.result_type);
  }

 private:
  std::uint32_t tensor() const { return static_cast<std::uint32_t>(tensor_); }
  std::int64_t most() const { return (std::int64_t{1} << (setting_.wire.code_bits() - 1)) - 1; }

  void find_steps() {
    const std::size_t block = setting_.wire.block();
    for (std::size_t first = 0; first < count(); first += block) {
      const std::size_t last = std::min(first + block, count());
      std::uint32_t largest = 0;
      for (const Values& part : parts_) {
        for (std::size_t i = first; i < last; ++i) {
          largest = std::max(largest, bits(std::abs(part[i])));
        }
      }
      std::fill(steps_.begin() + static_cast<long>(first), steps_.begin() + static_cast<long>(last),
                step_of(largest));
    }
  }

  double step_of(std::uint32_t largest) const {
    if (largest >= 0x7f800000u) return std::numeric_limits<double>::quiet_NaN();
    if (setting_.wire.kind() == Format::Kind::integer) {
      return value_of(largest) / static_cast<float>(most());
    }
    const int field = static_cast<int>(largest >> 23);
    return std::ldexp(1.0, field - 126 - (setting_.wire.code_bits() - 1));
  }

  /// To nearest-even, or up where the fraction and the value's word carry.
  std::int64_t rounded(double quotient, const RandomStream& stream, std::size_t i) const {
    if (!setting_.stochastic) return static_cast<std::int64_t>(std::nearbyint(quotient));
    const double magnitude = std::abs(quotient);
    const double whole = std::floor(magnitude);
    const auto fraction = static_cast<std::uint64_t>((magnitude - whole) * 0x1p32);
    const std::uint64_t carried = (fraction + numerics::random_word(stream, i)) >> 32;
    const auto integer = static_cast<std::int64_t>(whole) + static_cast<std::int64_t>(carried);
    return quotient < 0 ? -integer : integer;
  }

  std::int64_t code(std::uint32_t part, std::size_t i) const {
    if (std::isnan(steps_[i]) || steps_[i] == 0) return 0;
    const float x = parts_[part][i];
    // A power of two divides exactly; intK divides in FP32.
    const double quotient = setting_.wire.kind() == Format::Kind::bfp
                                ? x / steps_[i]
                                : static_cast<double>(x / static_cast<float>(steps_[i]));
    const RandomStream stream{kSeed, kStep, 0, part, tensor(), 0};
    return std::clamp(rounded(quotient, stream, i), -most(), most());
  }

  Setting setting_;
  std::size_t tensor_;
  std::vector<double> steps_;
  std::vector<Values> parts_;
};

void expect_results(const Call& call) {
  for (std::size_t tensor = 0; tensor < call.setting().counts.size(); ++tensor) {
    const Values wanted = Expected(call, tensor).values();
    for (std::uint32_t rank = 0; rank < call.setting().ranks; ++rank) {
      SCOPED_TRACE(::testing::Message() << "tensor " << tensor << " at rank " << rank);
      ASSERT_TRUE(same_bits(call.result(rank, tensor), wanted));
    }
  }
}

class ExactReduction : public ::testing::TestWithParam<const char*> {
 protected:
  Setting setting() const { return {.wire = Format::parse(GetParam())}; }
};

TEST_P(ExactReduction, GivesTheSumOfTheCodesHoweverItComesAbout) {
  for (const auto& [ranks, nodes] :
       {std::pair{1u, 1u}, {2u, 1u}, {3u, 1u}, {8u, 1u}, {1u, 3u}, {4u, 2u}, {2u, 5u}}) {
    Setting asked = setting();
    asked.ranks = ranks;
    asked.nodes = nodes;
    Call call(asked);
    for (unsigned seed = 1; seed <= 4; ++seed) {
      SCOPED_TRACE(::testing::Message() << ranks << " ranks, " << nodes << " nodes, tree " << seed);
      call.run(seed);
      expect_results(call);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(ExactReduction, SendsTheResultInAsManyBitsAsItNeeds) {
  for (const Result result : {Result::full, Result::wire}) {
    Setting asked = setting();
    asked.ranks = 5;
    asked.result = result;
    Call call(asked);
    call.prepare();
    Random random(3);
    call.agree(random);
    const int width = asked.wire.code_bits() + (result == Result::full ? 3 : 0);
    for (std::size_t tensor = 0; tensor < asked.counts.size(); ++tensor) {
      const Range all{tensor, 0, asked.counts[tensor]};
      const Bytes bytes = join_at_random(call.all_sums(), {&all, 1}, random).result;
      const Expected expected(call, tensor);
      Bytes wanted((all.count * static_cast<std::size_t>(width) + 7) / 8);
      for (std::size_t at = 0; at < all.count * static_cast<std::size_t>(width); ++at) {
        const std::size_t i = at / static_cast<std::size_t>(width);
        const auto bit = (expected.travels(i) >> at % static_cast<std::size_t>(width)) & 1;
        wanted[at / 8] |= static_cast<std::byte>(bit << (at % 8));
      }
      EXPECT_EQ(bytes, wanted);
    }
  }
}

TEST_P(ExactReduction, RoundsTheResultOnceWhereItTravelsNarrow) {
  for (const std::uint32_t ranks : {1u, 2u, 3u, 7u}) {
    Setting asked = setting();
    asked.ranks = ranks;
    asked.result = Result::wire;
    Call call(asked);
    call.run(ranks);
    expect_results(call);
  }
}

TEST_P(ExactReduction, DrawsTheWordsOfEveryNodeAndOfTheResult) {
  for (const Result result : {Result::full, Result::wire}) {
    for (const std::uint32_t nodes : {1u, 3u}) {
      Setting asked = setting();
      asked.nodes = nodes;
      asked.stochastic = true;
      asked.result = result;
      Call call(asked);
      const Bytes first = call.run(1);
      expect_results(call);
      EXPECT_EQ(call.run(1), first);
    }
  }
}

TEST_P(ExactReduction, KeepsTheSumInFullWidthAtTheEndOfAReduceScatter) {
  Setting asked = setting();
  asked.result = Result::wire;
  asked.average = true;
  Call call(asked);
  call.prepare();
  Random random(4);
  call.agree(random);
  for (std::size_t tensor = 0; tensor < asked.counts.size(); ++tensor) {
    const Range all{tensor, 0, asked.counts[tensor]};
    const JoinTree tree = join_at_random(call.all_sums(), {&all, 1}, random, true);
    Call wide([&] {
      Setting full = asked;
      full.result = Result::full;
      return full;
    }());
    EXPECT_TRUE(same_bits(call.result(tree.keeper, tensor), Expected(wide, tensor).values()));
  }
}

TEST_P(ExactReduction, MakesABlockNanWhereAnyPartIsNotFinite) {
  const std::size_t block = setting().wire.block();
  for (const float spoiled : {std::numeric_limits<float>::quiet_NaN(), HUGE_VALF, -HUGE_VALF}) {
    Setting asked = setting();
    asked.nodes = 2;
    asked.counts = {3 * block + 5, 40};
    Call call(asked);
    call.set(0, 2, 1, block + 3, spoiled);
    call.run(5);
    expect_results(call);
    const Values values = call.result(1, 0);
    for (std::size_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(std::isnan(values[i]), i / block == 1) << i;
    }
    for (const Rank& rank : call.ranks()) {
      EXPECT_TRUE(rank.sum->non_finite(0));
      EXPECT_FALSE(rank.sum->non_finite(1));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, ExactReduction,
                         ::testing::Values("bfp2:8", "bfp8", "bfp9:24", "bfp24", "int2:8", "int4",
                                           "int8:2000", "int13:40", "int24"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::ranges::replace(name, ':', '_');
                           return name;
                         });

TEST(ExactSum, SumsHalvesAndAverages) {
  for (const DataType type : {DataType::bf16, DataType::fp16, DataType::fp32}) {
    for (const DataType to : {type, DataType::fp32}) {
      Setting asked;
      asked.type = type;
      asked.result_type = to;
      asked.average = true;
      asked.nodes = 2;
      Call call(asked);
      call.run(6);
      expect_results(call);
    }
  }
}

TEST(ExactSum, SaysThatAHalfHasOverflowed) {
  Setting asked;
  asked.type = asked.result_type = DataType::fp16;
  Call call(asked);
  for (std::uint32_t rank = 0; rank < asked.ranks; ++rank) call.set(0, rank, 0, 7, 60000.0f);
  call.run(7);
  EXPECT_TRUE(std::isinf(call.result(0, 0)[7]));
  for (const Rank& rank : call.ranks()) {
    EXPECT_TRUE(rank.sum->non_finite(0));
    EXPECT_FALSE(rank.sum->non_finite(1));
  }
}

TEST(ExactSum, MultipliesByPowersOfTwo) {
  for (const char* wire : {"bfp8", "int8"}) {
    Setting asked;
    asked.wire = Format::parse(wire);
    asked.input_exponents = {3, -5, 40};
    asked.output_exponent = -7;
    Call call(asked);
    call.run(8);
    expect_results(call);
    asked.output_exponent = 200;  // to the largest finite value
    Call large(asked);
    large.run(8);
    expect_results(large);
  }
}

/// With a residual of its own for every rank.
Call with_residuals(Setting asked, std::vector<std::vector<Values>>& before) {
  Call call(std::move(asked));
  for (Rank& rank : call.ranks()) {
    before.emplace_back();
    for (std::size_t t = 0; t < rank.residuals.size(); ++t) {
      rank.residuals[t] = gradients(call.setting().counts[t], static_cast<unsigned>(70 + t));
      before.back().push_back(rank.residuals[t]);
    }
  }
  return call;
}

TEST(ExactSum, FeedsBackWhatThisRanksCodesLose) {
  Setting asked;
  asked.input_exponents = {0, 2};
  asked.stochastic = true;
  std::vector<std::vector<Values>> before;
  Call call = with_residuals(asked, before);
  call.run(9);
  Call as_summed(asked);  // the same with g + r as gradients
  for (std::uint32_t rank = 0; rank < asked.ranks; ++rank) {
    for (std::size_t t = 0; t < asked.counts.size(); ++t) {
      Values sum = loaded(call.rank(rank).gradients[t][0], DataType::fp32);
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += before[rank][t][i];
      as_summed.ranks()[rank].gradients[t][0] = stored(sum, DataType::fp32);
    }
  }
  as_summed.run(10);
  const codec::Exact& exact = call.exact();
  for (std::uint32_t rank = 0; rank < asked.ranks; ++rank) {
    for (std::size_t t = 0; t < asked.counts.size(); ++t) {
      EXPECT_EQ(call.rank(rank).results[t], as_summed.rank(rank).results[t]);
      const Values part = as_summed.part(t, rank, 0);
      const auto* words = call.rank(rank).words[t].data();
      const RandomStream draws{kSeed, kStep, 0, rank, static_cast<std::uint32_t>(t), 0};
      std::vector<std::int32_t> integers(part.size());
      Values wanted(part.size());
      exact.integers(part.data(), part.size(), words, draws, integers.data());
      exact.values(integers.data(), part.size(), words, 0, wanted.data());
      for (std::size_t i = 0; i < part.size(); ++i) {
        wanted[i] = std::ldexp(part[i] - wanted[i], -call.input_exponent(rank));
      }
      EXPECT_TRUE(same_bits(call.rank(rank).residuals[t], wanted)) << rank << " " << t;
    }
  }
}

TEST(ExactSum, LeavesTheResidualOfATensorThatIsNotFinite) {
  std::vector<std::vector<Values>> before;
  Call call = with_residuals({}, before);
  call.set(2, 1, 0, 4000, HUGE_VALF);
  call.run(11);
  for (std::size_t rank = 0; rank < 3; ++rank) {
    EXPECT_TRUE(same_bits(call.rank(rank).residuals[2], before[rank][2]));
    EXPECT_FALSE(same_bits(call.rank(rank).residuals[0], before[rank][0]));
  }
}

TEST(ExactSum, TakesTheBitsOfAllParts) {
  Setting asked{.wire = Format::parse("int5"), .ranks = 6, .nodes = 3};
  Call call(asked);
  call.prepare();
  const ExactSum& sum = *call.rank(0).sum;
  for (const Leg leg : {Leg::inside_host, Leg::across_hosts}) {
    EXPECT_EQ(sum.bytes(0, 8, {Payload::part, 1, leg}), 7u);  // 5 + ceil(log2 3)
    EXPECT_EQ(sum.bytes(0, 8, {Payload::part, 2, leg}), 8u);
    EXPECT_EQ(sum.bytes(0, 8, {Payload::partial, 5, leg}), 9u);
    EXPECT_EQ(sum.bytes(0, 8, {Payload::result, 6, leg}), 10u);
  }
  EXPECT_EQ(sum.alignment(0), 512u);
}

TEST(ExactSum, IsTheSameFromSeveralThreads) {
  Setting asked{
      .wire = Format::parse("bfp6:8"), .nodes = 2, .stochastic = true, .counts = {1u << 16}};
  Call call(asked);
  call.prepare();
  Random random(12);
  call.agree(random);
  const auto reduce = [&](std::size_t thread) {
    Random own(static_cast<unsigned>(100 + thread));
    for (std::size_t first = thread * 2048; first < asked.counts[0]; first += 4 * 2048) {
      const Range range{0, first, 2048};
      const JoinTree tree = join_at_random(call.all_sums(), {&range, 1}, own);
      for (Reduction* rank : call.all_sums()) rank->deliver({&range, 1}, tree.result.data());
    }
  };
  std::vector<std::thread> threads;
  for (std::size_t thread = 0; thread < 4; ++thread) threads.emplace_back(reduce, thread);
  for (std::thread& thread : threads) thread.join();
  expect_results(call);
}

}  // namespace
}  // namespace cpdcomm::testing
