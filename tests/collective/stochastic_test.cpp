// Stochastic rounding in sums: which random words each cast draws, and that no bias comes of it.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "collective/chunks.hpp"
#include "collective/sum_case.hpp"
#include "cpdcomm/codec.hpp"
#include "support/bits.hpp"

namespace cpdcomm::testing {
namespace {

using Values = std::vector<float>;

constexpr std::uint32_t kSeed = 42;
constexpr std::uint32_t kStep = 7;
constexpr std::uint16_t kResult = 0xffff;

/// A cast as numerics.md words it: by whom, and in which phase.
Values cast(Values values, Format wire, std::size_t rank, std::size_t phase) {
  const RandomStream stream{.seed = kSeed,
                            .step = kStep,
                            .phase = static_cast<std::uint16_t>(phase),
                            .rank = static_cast<std::uint32_t>(rank)};
  quantize(values, wire, values, {.stochastic = stream});
  return values;
}

Values plus(Values total, const Values& part) {
  for (std::size_t i = 0; i < total.size(); ++i) total[i] += part[i];
  return total;
}

/// One rank's part: its nodes', each cast, joined, and cast once more to travel.
Values own_part(const Parts& nodes, Format wire, std::size_t rank, Accumulate accumulate) {
  const std::size_t count = nodes.size();
  if (count == 1) return cast(nodes[0], wire, rank, 0);
  Values total(nodes[0].size(), 0.0f);
  for (std::size_t node = 0; node < count; ++node) {
    const std::size_t who = rank * count + node;
    total = plus(std::move(total), cast(nodes[node], wire, who, 0));
    if (accumulate == Accumulate::rounded) total = cast(std::move(total), wire, who, node);
  }
  return cast(std::move(total), wire, rank * count + count - 1, count - 1);
}

/// `direct`: the owner of a chunk joins all parts in rank order.
Values direct_sum(const std::vector<Parts>& by_rank, Format wire, Accumulate accumulate,
                  std::size_t owner) {
  const std::size_t nodes = by_rank[0].size();
  const std::size_t who = owner * nodes + nodes - 1;
  Values total(by_rank[0][0].size(), 0.0f);
  for (std::size_t rank = 0; rank < by_rank.size(); ++rank) {
    total = plus(std::move(total), own_part(by_rank[rank], wire, rank, accumulate));
    if (accumulate == Accumulate::rounded) {
      total = cast(std::move(total), wire, who, (rank + 1) * nodes - 1);
    }
  }
  return cast(std::move(total), wire, who, kResult);
}

/// `ring` and `wide`: a partial sum that starts at rank `first` is cast at every hop.
Values ring_sum(const std::vector<Parts>& by_rank, Format wire, std::size_t first) {
  Values total(by_rank[0][0].size(), 0.0f);
  for (std::size_t held = 1; held <= by_rank.size(); ++held) {
    const std::size_t rank = (first + held - 1) % by_rank.size();
    total = plus(std::move(total), by_rank[rank][0]);
    const std::size_t phase = held == by_rank.size() ? kResult : held - 1;
    total = cast(std::move(total), wire, rank, phase);
  }
  return total;
}

/// What each value must be: of each chunk the sum that its owner comes to.
Values emulated(const std::vector<Parts>& by_rank, const SumRules& rules) {
  const std::size_t size = by_rank[0][0].size();
  const int ranks = static_cast<int>(by_rank.size());
  const int nodes = static_cast<int>(by_rank[0].size());
  const std::vector<int> owners = chunks_of({size}, rules, ranks, nodes)[0];
  Values wanted(size);
  for (int owner = 0; owner < ranks; ++owner) {
    const auto at = static_cast<std::size_t>(owner);
    const Values sum = rules.algorithm == Algorithm::ring
                           ? ring_sum(by_rank, rules.wire, at)
                           : direct_sum(by_rank, rules.wire, rules.accumulate, at);
    for (std::size_t i = 0; i < size; ++i) {
      if (owners[i] == owner) wanted[i] = sum[i];
    }
  }
  return wanted;
}

AllreduceOptions stochastic(const SumRules& rules) {
  AllreduceOptions options = rules.options();
  options.rounding = Rounding::stochastic;
  options.seed = kSeed;
  options.step = kStep;
  return options;
}

void expect_words(const SumRules& rules, int nodes) {
  for (const int count : {1, 2, 4}) {
    SCOPED_TRACE(::testing::Message()
                 << rules.wire.to_string() << ", " << to_string(rules.algorithm) << ", " << count
                 << " ranks, " << nodes << " nodes");
    Ranks ranks(count, Ranks::patient(512));
    const auto by_rank = parts_of_ranks(count, nodes, 5003, 3);
    const Values wanted = emulated(by_rank, rules);
    for (const Values& got : allreduce_parts(ranks, by_rank, stochastic(rules))) {
      ASSERT_TRUE(same_bits(got, wanted));
    }
  }
}

TEST(Stochastic, EveryCastOfASumHasWordsOfItsOwn) {
  for (const char* name : {"e5m2", "e3m0", "bf16", "bfp8", "int4:64", "mxfp4"}) {
    const Format wire = Format::parse(name);
    for (const auto algorithm : {Algorithm::direct, Algorithm::ring}) {
      expect_words({.wire = wire, .algorithm = algorithm, .aps = false}, 1);
    }
    expect_words({.wire = wire, .aps = false}, 3);
    if (!wire.is_float()) continue;
    expect_words({.wire = wire, .accumulate = Accumulate::rounded, .aps = false}, 1);
    expect_words({.wire = wire, .accumulate = Accumulate::rounded, .aps = false}, 3);
  }
}

TEST(Stochastic, TensorsOfACallAndStepsHaveWordsOfTheirOwn) {
  Ranks ranks(2);
  const Values same(512, 1.1f);
  const std::vector<std::size_t> ends{512, 1024};
  const auto sum = [&](std::uint32_t step) {
    PerRank<Values> results(2, same);
    results[0].insert(results[0].end(), same.begin(), same.end());
    results[1] = results[0];
    ranks.run([&](Communicator& self) {
      AllreduceOptions options{.wire = Format::parse("e5m2"), .rounding = Rounding::stochastic};
      options.seed = kSeed;
      options.step = step;
      self.allreduce(results[index_of(self)], ends, options);
    });
    EXPECT_TRUE(same_bits(results[0], results[1]));
    return results[0];
  };
  const Values first = sum(0);
  EXPECT_TRUE(same_bits(first, sum(0)));
  EXPECT_FALSE(same_bits(first, sum(1)));
  EXPECT_FALSE(same_bits(std::span(first).first(512), std::span(first).last(512)));
}

TEST(Stochastic, DisagreementOnSeedOrStepIsFound) {
  Ranks ranks(2);
  for (const bool other_seed : {false, true}) {
    const auto outcomes = ranks.outcomes([&](Communicator& self) {
      AllreduceOptions options{.wire = Format::parse("e5m2"), .rounding = Rounding::stochastic};
      const auto own = static_cast<std::uint32_t>(self.rank());
      options.seed = other_seed ? own : 0;
      options.step = other_seed ? 0 : own;
      Values values(100, 1.0f);
      self.allreduce(values, options);
    });
    for (const Outcome& outcome : outcomes) EXPECT_TRUE(outcome.is(ErrorCode::mismatch)) << outcome;
  }
}

TEST(Stochastic, IsRefusedWithCompensationAndWithTooManyParts) {
  Ranks ranks(1);
  Values values(8, 1.0f);
  const auto refused = [&](AllreduceOptions options, const char* why) {
    options.wire = Format::parse("e4m3");
    options.rounding = Rounding::stochastic;
    const Outcome outcome = outcome_of([&] { ranks[0].allreduce(values, options); });
    EXPECT_TRUE(outcome.is(ErrorCode::invalid_argument)) << outcome;
    EXPECT_NE(outcome.message.find(why), std::string::npos) << outcome;
  };
  refused({.accumulate = Accumulate::kahan}, "kahan");
  refused({.emulate_nodes = 65536}, "65535");
}

#ifndef CPDCOMM_LIGHT_TESTS
/// The mean of the errors of a sum over so many standard errors of it.
double bias(const PerRank<Values>& parts, const Values& got) {
  double sum = 0;
  double squares = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    double exact = 0;
    for (const Values& part : parts) exact += static_cast<double>(part[i]);
    const double error = static_cast<double>(got[i]) - exact;
    sum += error;
    squares += error * error;
  }
  const auto count = static_cast<double>(got.size());
  const double mean = sum / count;
  return mean / std::sqrt((squares / count - mean * mean) / count);
}

TEST(Stochastic, LeavesNoBiasInASum) {
  constexpr std::size_t kCount = std::size_t{1} << 24;
  constexpr int kRanks = 4;
  PerRank<Values> parts(kRanks, Values(kCount));
  for (std::size_t rank = 0; rank < kRanks; ++rank) {
    std::mt19937 random(static_cast<unsigned>(rank) + 1);
    // One-sided, so that a bias of magnitudes is one of values, and over some binades.
    std::exponential_distribution<float> magnitude(1.0f);
    for (float& x : parts[rank]) x = magnitude(random);
  }
  Ranks ranks(kRanks);
  for (const char* name : {"e5m2", "e4m3", "e3m0"}) {
    for (const auto algorithm : {Algorithm::direct, Algorithm::ring}) {
      SCOPED_TRACE(::testing::Message() << name << ", " << to_string(algorithm));
      const auto biased_by = [&](Rounding rounding) {
        PerRank<Values> sums = parts;
        ranks.run([&](Communicator& self) {
          self.allreduce(
              sums[index_of(self)],
              {.wire = Format::parse(name), .algorithm = algorithm, .rounding = rounding});
        });
        return std::abs(bias(parts, sums[0]));
      };
      EXPECT_LT(biased_by(Rounding::stochastic), 4);
      // To the nearest there is one, which shows that this test can see it.
      EXPECT_GT(biased_by(Rounding::nearest_even), 4);
    }
  }
}
#endif

}  // namespace
}  // namespace cpdcomm::testing
