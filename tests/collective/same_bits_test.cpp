// L1 and L2: the same bits on every rank and in every run, whatever the network's timing; and, for
// `direct`, for every segment size.
#include <gtest/gtest.h>

#include <map>

#include "collective/chunks.hpp"
#include "collective/sum_case.hpp"
#include "support/bits.hpp"
#include "support/formats.hpp"
#include "support/jitter_transport.hpp"

namespace cpdcomm::testing {
namespace {

#ifdef CPDCOMM_LIGHT_TESTS
constexpr int kRankCounts[] = {1, 2, 3, 5};
constexpr std::size_t kSizes[] = {0, 1, 2, 7, 8, 9, 1000, 20001};
#else
constexpr int kRankCounts[] = {1, 2, 3, 4, 5, 7, 8};
constexpr std::size_t kSizes[] = {0, 1, 2, 7, 8, 9, 1000, 65537, 1 << 20};
#endif

/// The first `count` of each rank's gradients, which are made once.
std::vector<Parts> parts_of(int ranks, std::size_t count) {
  static std::map<int, std::vector<float>> made;
  std::vector<Parts> by_rank;
  for (int rank = 0; rank < ranks; ++rank) {
    auto& all = made[rank];
    if (all.empty()) all = gradients(std::end(kSizes)[-1], static_cast<unsigned>(rank));
    by_rank.push_back({{all.begin(), all.begin() + static_cast<std::ptrdiff_t>(count)}});
  }
  return by_rank;
}

using Case = std::tuple<Algorithm, Format>;

std::string print_case(const ::testing::TestParamInfo<Case>& test) {
  return to_string(std::get<0>(test.param)) + "_" + std::get<1>(test.param).to_string();
}

class SameBits : public ::testing::TestWithParam<Case> {
 protected:
  SumRules rules(Accumulate accumulate) const {
    return {.wire = std::get<1>(GetParam()),
            .accumulate = accumulate,
            .algorithm = std::get<0>(GetParam())};
  }

  /// Some of the values, all of a small tensor.
  static void expect_some_right(const std::vector<float>& got, const std::vector<Parts>& by_rank,
                                const SumRules& rules) {
    if (got.empty()) return;
    const auto ranks = static_cast<int>(by_rank.size());
    const std::vector<int> owners = chunks_of({got.size()}, rules, ranks, 1)[0];
    const ReferenceSum reference(by_rank, rules,
                                 schedules_of(rules, static_cast<int>(by_rank.size())));
    const std::size_t step = got.size() / 1000 + 1;
    for (std::size_t i = 0; i < got.size(); i += step) {
      ASSERT_EQ(bits(got[i]), bits(reference.at(i, owners[i]))) << "value " << i;
    }
  }

  static void expect_the_same(Ranks& ranks, Ranks& others, std::size_t count,
                              const SumRules& rules) {
    SCOPED_TRACE(::testing::Message() << ranks.size() << " ranks, " << count << " values, "
                                      << to_string(rules.accumulate));
    const std::vector<Parts> by_rank = parts_of(ranks.size(), count);
    const auto first = allreduce_parts(ranks, by_rank, rules.options());
    const auto second = allreduce_parts(others, by_rank, rules.options());
    for (std::size_t rank = 0; rank < first.size(); ++rank) {
      ASSERT_TRUE(same_bits(first[rank], first[0])) << "rank " << rank;
      ASSERT_TRUE(same_bits(second[rank], first[0])) << "rank " << rank << ", second run";
    }
    expect_some_right(first[0], by_rank, rules);
  }
};

TEST_P(SameBits, OnEveryRankAndInEveryRun) {
  for (const int count : kRankCounts) {
    Ranks ranks(count);
    Ranks slow(make_jitter_communicators(count, 1, Ranks::patient()));
    for (const std::size_t size : kSizes) {
      expect_the_same(ranks, size < 10000 ? slow : ranks, size, rules({}));
    }
    for (const auto accumulate : {Accumulate::rounded, Accumulate::kahan}) {
      for (const std::size_t size : {std::size_t{9}, std::size_t{20001}}) {
        expect_the_same(ranks, slow, size, rules(accumulate));
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, SameBits,
                         ::testing::Combine(::testing::Values(Algorithm::direct, Algorithm::ring,
                                                              Algorithm::tree,
                                                              Algorithm::halving_doubling),
                                            ::testing::ValuesIn(awkward_formats())),
                         print_case);

class SegmentSizes : public ::testing::TestWithParam<Accumulate> {};

TEST_P(SegmentSizes, ChangeNoBitOfDirect) {
  for (const Format wire : awkward_formats()) {
    SCOPED_TRACE(wire.to_string());
    const std::vector<Parts> by_rank = parts_of_ranks(3, 1, 6011, 1);
    const SumRules rules{.wire = wire, .accumulate = GetParam()};
    Ranks whole(3);
    const auto wanted = allreduce_parts(whole, by_rank, rules.options());
    for (const std::size_t segment : {64u, 65u, 100u, 999u, 4096u, 61000u}) {
      Ranks ranks(3, Ranks::patient(segment));
      const auto got = allreduce_parts(ranks, by_rank, rules.options());
      ASSERT_TRUE(same_bits(got[1], wanted[1])) << "segments of " << segment;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, SegmentSizes,
                         ::testing::Values(Accumulate::wide, Accumulate::rounded,
                                           Accumulate::kahan),
                         [](const auto& test) { return to_string(test.param); });

TEST(SegmentSize, HasLimits) {
  for (const std::size_t wrong : {std::size_t{1}, std::size_t{63}, std::size_t{61440}, SIZE_MAX}) {
    EXPECT_THROW(make_thread_communicators(1, {.segment_bytes = wrong}), Error) << wrong;
  }
}

}  // namespace
}  // namespace cpdcomm::testing
