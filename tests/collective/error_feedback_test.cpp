// What casts lose is kept and sent with the next call, by every algorithm alike.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "cpdcomm/codec.hpp"
#include "support/bits.hpp"
#include "support/hosts_transport.hpp"
#include "support/patterns.hpp"
#include "support/ranks.hpp"
#include "support/reference_cast.hpp"

namespace cpdcomm::testing {
namespace {

using Values = std::vector<float>;

constexpr std::size_t kCount = 3003;
constexpr int kRanks = 4;

/// Gradients and residuals of all ranks.
struct State {
  PerRank<Values> gradients;
  PerRank<Values> residuals;
  PerRank<Values> results = {};
  PerRank<Report> reports = {};
};

State state_of(unsigned seed) {
  State state;
  for (unsigned rank = 0; rank < kRanks; ++rank) {
    state.gradients.push_back(gradients(kCount, seed + rank));
    state.residuals.push_back(gradients(kCount, seed + 100 + rank));
    for (float& x : state.residuals.back()) x *= 0x1p-6f;
  }
  return state;
}

void sum(Ranks& ranks, State& state, const AllreduceOptions& options) {
  state.results = state.gradients;
  state.reports.resize(kRanks);
  ranks.run([&](Communicator& self) {
    const std::size_t rank = index_of(self);
    const Tensor tensor{.data = state.results[rank].data(),
                        .count = kCount,
                        .residual = state.residuals[rank].data()};
    state.reports[rank] = self.allreduce({&tensor, 1}, options);
  });
}

/// decode(encode(v)) of all ranks, each v = g + r, on the scale that the call has.
PerRank<Values> casts(const State& state, Format wire, std::size_t group) {
  PerRank<Values> sent;
  for (std::size_t rank = 0; rank < kRanks; ++rank) {
    sent.push_back(state.gradients[rank]);
    for (std::size_t i = 0; i < kCount; ++i) sent[rank][i] += state.residuals[rank][i];
  }
  if (!wire.is_float()) {
    for (Values& values : sent) quantize(values, wire, values);
    return sent;
  }
  for (std::size_t first = 0; first < kCount && !wire.is_fp32(); first += group) {
    const std::size_t end = std::min(kCount, first + group);
    float largest = 0;
    for (const Values& values : sent) {
      for (std::size_t i = first; i < end; ++i) largest = std::max(largest, std::abs(values[i]));
    }
    const int shift = top_exponent(wire) - reference_exponent(largest, kRanks);
    for (Values& values : sent) {
      for (std::size_t i = first; i < end; ++i) {
        values[i] = reference_cast(reference_cast(values[i], wire, shift, true), Format(), -shift);
      }
    }
  }
  return sent;
}

PerRank<Values> lost(const State& state, const PerRank<Values>& sent) {
  PerRank<Values> lost = state.gradients;
  for (std::size_t rank = 0; rank < kRanks; ++rank) {
    for (std::size_t i = 0; i < kCount; ++i) {
      lost[rank][i] = (lost[rank][i] + state.residuals[rank][i]) - sent[rank][i];
    }
  }
  return lost;
}

std::vector<AllreduceOptions> ways(Format wire) {
  std::vector<AllreduceOptions> ways;
  for (const Algorithm algorithm :
       {Algorithm::direct, Algorithm::ring, Algorithm::tree, Algorithm::halving_doubling}) {
    for (const Accumulate accumulate : {Accumulate::wide, Accumulate::rounded, Accumulate::kahan}) {
      if (!wire.is_float() && accumulate != Accumulate::wide) continue;
      AllreduceOptions options{.wire = wire, .accumulate = accumulate, .algorithm = algorithm};
      ways.push_back(options);
      options.algorithm = Algorithm::hierarchical;
      options.across = algorithm;
      options.inner.reset();
      ways.push_back(options);
    }
  }
  return ways;
}

class ErrorFeedbackOfSums : public ::testing::TestWithParam<const char*> {};

INSTANTIATE_TEST_SUITE_P(, ErrorFeedbackOfSums,
                         ::testing::Values("e4m3", "e3m0", "e2m1fn", "bf16", "fp32", "int2:64",
                                           "bfp4:32", "sign:64"),
                         [](const auto& test) {
                           const std::string name = test.param;
                           return name.substr(0, name.find(':'));
                         });

TEST_P(ErrorFeedbackOfSums, KeepsWhatThePartLosesHoweverItIsSummed) {
  const Format wire = Format::parse(GetParam());
  const State first = state_of(1);
  for (const std::size_t group : {std::size_t{0}, std::size_t{512}}) {
    if (group != 0 && !wire.is_float()) continue;
    const auto wanted = lost(first, casts(first, wire, group == 0 ? kCount : group));
    for (AllreduceOptions options : ways(wire)) {
      if (group != 0) options.scaling = {Scaling::Kind::aps, group};
      for (const std::size_t segment : {std::size_t{0}, std::size_t{200}}) {
        Ranks ranks(make_host_communicators({0, 0, 1, 0}, Ranks::patient(segment)));
        State state = first;
        sum(ranks, state, options);
        for (std::size_t rank = 0; rank < kRanks; ++rank) {
          ASSERT_TRUE(same_bits(state.residuals[rank], wanted[rank]))
              << to_string(options.algorithm) << " " << to_string(options.accumulate) << ", group "
              << group << ", rank " << rank;
          ASSERT_TRUE(same_bits(state.results[rank], state.results[0]));
        }
      }
    }
  }
}

TEST_P(ErrorFeedbackOfSums, IsLeftAloneWhenAnyRankIsNotFinite) {
  const Format wire = Format::parse(GetParam());
  for (const AllreduceOptions& options : ways(wire)) {
    State state = state_of(2);
    state.gradients[2][700] = std::numeric_limits<float>::infinity();
    const State before = state;
    Ranks ranks(make_host_communicators({0, 0, 1, 0}, Ranks::patient(200)));
    sum(ranks, state, options);
    for (std::size_t rank = 0; rank < kRanks; ++rank) {
      ASSERT_TRUE(same_bits(state.residuals[rank], before.residuals[rank]));
      EXPECT_EQ(state.reports[rank].non_finite, std::vector<bool>{true});
      EXPECT_TRUE(std::isnan(state.results[rank][700])) << to_string(options.algorithm);
    }
  }
}

TEST(ErrorFeedbackOfExactSums, LosesNothingOverManySteps) {
  // Sums of integers are what was sent, so with the residuals they are all gradients.
  for (const char* wire : {"int2:64", "bfp3:32"}) {
    for (const Algorithm algorithm : {Algorithm::direct, Algorithm::tree}) {
      AllreduceOptions options{.wire = Format::parse(wire), .accumulate = Accumulate::exact};
      options.algorithm = algorithm;
      Ranks ranks(kRanks, Ranks::patient(400));
      State state = state_of(3);
      std::vector<double> due(kCount, 0.0);
      std::vector<double> got(kCount, 0.0);
      for (const Values& residual : state.residuals) {
        for (std::size_t i = 0; i < kCount; ++i) due[i] += residual[i];
      }
      for (unsigned step = 0; step < 30; ++step) {
        for (unsigned rank = 0; rank < kRanks; ++rank) {
          state.gradients[rank] = gradients(kCount, 40 * step + rank);
          for (std::size_t i = 0; i < kCount; ++i) due[i] += state.gradients[rank][i];
        }
        sum(ranks, state, options);
        for (std::size_t i = 0; i < kCount; ++i) got[i] += state.results[0][i];
      }
      for (std::size_t i = 0; i < kCount; ++i) {
        double left = 0;
        for (const Values& residual : state.residuals) left += residual[i];
        ASSERT_NEAR(got[i] + left, due[i], 1e-5) << wire << " " << i;
      }
    }
  }
}

TEST(ErrorFeedbackOfSteps, SendsInTheEndWhatOneCallCannot) {
  // Gradients that never change: the mean of many results comes near them, one result does not.
  const auto error = [](bool feeds_back) {
    Ranks ranks(kRanks);
    State state = state_of(5);
    std::vector<double> mean(kCount, 0.0);
    constexpr int kSteps = 60;
    for (Values& residual : state.residuals) residual.assign(kCount, 0.0f);
    for (int step = 0; step < kSteps; ++step) {
      if (!feeds_back) {
        for (Values& residual : state.residuals) residual.assign(kCount, 0.0f);
      }
      sum(ranks, state, {.wire = Format::parse("int2:64"), .algorithm = Algorithm::ring});
      for (std::size_t i = 0; i < kCount; ++i) mean[i] += state.results[0][i] / kSteps;
    }
    double squares = 0;
    for (std::size_t i = 0; i < kCount; ++i) {
      double exact = 0;
      for (const Values& values : state.gradients) exact += values[i];
      squares += (mean[i] - exact) * (mean[i] - exact);
    }
    return std::sqrt(squares);
  };
  EXPECT_LT(error(true), 0.7 * error(false));
}

}  // namespace
}  // namespace cpdcomm::testing
