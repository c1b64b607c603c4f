// `majority`: every rank votes with the sign of its value.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "cpdcomm/codec.hpp"
#include "support/bits.hpp"
#include "support/hosts_transport.hpp"
#include "support/patterns.hpp"
#include "support/ranks.hpp"

namespace cpdcomm::testing {
namespace {

using Values = std::vector<float>;

AllreduceOptions vote(Algorithm algorithm = Algorithm::direct) {
  AllreduceOptions options{.wire = Format::parse("sign"), .accumulate = Accumulate::majority};
  options.algorithm = algorithm;
  return options;
}

Values reference(const std::vector<Values>& parts) {
  Values result;
  for (std::size_t i = 0; i < parts[0].size(); ++i) {
    int votes = 0;
    for (const Values& part : parts) votes += std::signbit(part[i]) ? -1 : 1;
    result.push_back(static_cast<float>((votes > 0) - (votes < 0)));
  }
  return result;
}

std::vector<Values> parts_of(int ranks, std::size_t count) {
  std::vector<Values> parts;
  for (unsigned rank = 0; rank < static_cast<unsigned>(ranks); ++rank) {
    parts.push_back(gradients(count, rank + 7));
    if (count > 3) parts.back()[3] = rank % 2 == 0 ? -0.0f : 0.0f;  // zeros vote by their sign
  }
  return parts;
}

PerRank<std::vector<Values>> sums(Ranks& ranks, const std::vector<std::vector<Values>>& tensors,
                                  const AllreduceOptions& options, PerRank<Report>& reports) {
  PerRank<std::vector<Values>> results(static_cast<std::size_t>(ranks.size()));
  reports.resize(results.size());
  ranks.run([&](Communicator& self) {
    std::vector<Values>& mine = results[index_of(self)];
    for (const auto& parts : tensors) mine.push_back(parts[index_of(self)]);
    std::vector<Tensor> described;
    for (Values& values : mine) {
      described.push_back({.data = values.data(), .count = values.size()});
    }
    reports[index_of(self)] = self.allreduce(described, options);
  });
  return results;
}

void expect_votes(Ranks& ranks, const AllreduceOptions& options) {
  const int count = ranks.size();
  const std::vector<std::vector<Values>> tensors{parts_of(count, 3001), parts_of(count, 0),
                                                 parts_of(count, 5)};
  PerRank<Report> reports;
  for (const auto& got : sums(ranks, tensors, options, reports)) {
    for (std::size_t t = 0; t < tensors.size(); ++t) {
      ASSERT_TRUE(same_bits(got[t], reference(tensors[t])));
    }
  }
  for (const Report& report : reports) {
    EXPECT_EQ(report.non_finite, (std::vector<bool>{false, false, false}));
  }
}

TEST(Majority, IsCountedByEveryAlgorithm) {
  for (const int count : {1, 2, 3, 4, 7, 8}) {
    for (const std::size_t segment : {std::size_t{0}, std::size_t{64}}) {
      Ranks ranks(count, Ranks::patient(segment));
      for (const Algorithm algorithm :
           {Algorithm::direct, Algorithm::ring, Algorithm::tree, Algorithm::halving_doubling}) {
        SCOPED_TRACE(::testing::Message() << count << " ranks, " << to_string(algorithm));
        expect_votes(ranks, vote(algorithm));
      }
    }
  }
}

TEST(Majority, IsCountedInsideHosts) {
  Ranks ranks(make_host_communicators({0, 1, 0, 0, 1, 2, 0}, Ranks::patient(200)));
  for (const Algorithm across :
       {Algorithm::direct, Algorithm::ring, Algorithm::tree, Algorithm::halving_doubling}) {
    AllreduceOptions options = vote(Algorithm::hierarchical);
    options.across = across;
    expect_votes(ranks, options);
  }
}

TEST(Majority, OfEmulatedNodesCountsEachOfThem) {
  const std::vector<Values> parts = parts_of(6, 500);
  Ranks ranks(2);
  ranks.run([&](Communicator& self) {
    const std::size_t first = index_of(self) * 3;
    const std::vector<const void*> nodes{parts[first].data(), parts[first + 1].data(),
                                         parts[first + 2].data()};
    Values result(500);
    const Tensor tensor{.data = result.data(), .count = result.size(), .nodes = nodes};
    AllreduceOptions options = vote();
    options.emulate_nodes = 3;
    self.allreduce({&tensor, 1}, options);
    EXPECT_TRUE(same_bits(result, reference(parts)));
  });
}

TEST(Majority, MakesOnlyATensorThatIsNotFiniteNan) {
  for (const float spoiler :
       {std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::quiet_NaN()}) {
    for (const Algorithm algorithm : {Algorithm::direct, Algorithm::tree}) {
      Ranks ranks(3, Ranks::patient(100));
      std::vector<std::vector<Values>> tensors{parts_of(3, 1000), parts_of(3, 2000)};
      tensors[1][2][1999] = spoiler;
      PerRank<Report> reports;
      for (const auto& got : sums(ranks, tensors, vote(algorithm), reports)) {
        ASSERT_TRUE(same_bits(got[0], reference(tensors[0])));
        ASSERT_TRUE(same_bits(got[1], Values(2000, value_of(0x7fc00000u))));
      }
      for (const Report& report : reports) {
        EXPECT_EQ(report.non_finite, (std::vector<bool>{false, true}));
      }
    }
  }
}

TEST(Majority, TakesOneBitThereAndTwoBack) {
  constexpr std::size_t kCount = 1 << 16;
  Ranks ranks(4);
  PerRank<Report> reports;
  sums(ranks, {parts_of(4, kCount)}, vote(), reports);
  for (const Report& report : reports) {
    const double bits = 3.0 / 4 * kCount * (1 + 2);
    EXPECT_GE(static_cast<double>(report.wire_bytes) * 8, bits);
    EXPECT_LT(static_cast<double>(report.wire_bytes) * 8, bits * 1.05);
  }
}

TEST(Majority, OfHalvesWithAFactor) {
  const std::vector<Values> parts = parts_of(3, 100);
  Ranks ranks(3);
  ranks.run([&](Communicator& self) {
    std::vector<std::byte> halves(200);
    encode(parts[index_of(self)], Format::parse("bf16"), halves);
    const Tensor tensor{
        .data = halves.data(), .count = 100, .type = DataType::bf16, .output_exponent = -3};
    self.allreduce({&tensor, 1}, vote());
    Values got(100);
    decode(halves, Format::parse("bf16"), got);
    Values wanted = reference(parts);
    for (float& x : wanted) x /= 8;
    EXPECT_TRUE(same_bits(got, wanted));
  });
}

}  // namespace
}  // namespace cpdcomm::testing
