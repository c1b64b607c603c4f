#include "allreduce/sum_order.hpp"

#include <gtest/gtest.h>

#include "perf/tree.hpp"
#include "support/ranks.hpp"

namespace cpdcomm::perf {
namespace {

/// A sum as text: own parts as numbers, received ones in brackets, received sums in parentheses.
std::string text(const Sum& sum) {
  std::string all;
  for (const Term& term : sum) {
    all += all.empty() ? "" : " ";
    switch (term.kind) {
      case Term::Kind::own_part:
        all += std::to_string(term.rank);
        break;
      case Term::Kind::received_part:
        all += "[" + std::to_string(term.rank) + "]";
        break;
      case Term::Kind::received_sum:
        all += "(" + text(*term.sum) + ")";
        break;
    }
  }
  return all;
}

std::vector<std::string> texts(const std::vector<schedule::Schedule>& by_rank) {
  std::vector<std::string> all;
  for (const auto& sum : sum_orders(by_rank)) all.push_back(text(*sum));
  return all;
}

std::vector<schedule::Schedule> all_ranks(schedule::Schedule (*of)(int, int), int ranks) {
  std::vector<schedule::Schedule> by_rank;
  for (int rank = 0; rank < ranks; ++rank) by_rank.push_back(of(rank, ranks));
  return by_rank;
}

TEST(SumOrder, OfDirectIsThatOfTheRanks) {
  EXPECT_EQ(texts(all_ranks(schedule::direct, 3)),
            (std::vector<std::string>{"0 [1] [2]", "[0] 1 [2]", "[0] [1] 2"}));
  EXPECT_EQ(texts(all_ranks(schedule::direct, 1)), std::vector<std::string>{"0"});
}

TEST(SumOrder, OfARingIsThatOfTheHops) {
  EXPECT_EQ(texts(all_ranks(schedule::ring, 3)),
            (std::vector<std::string>{"((0) 1) 2", "((1) 2) 0", "((2) 0) 1"}));
  EXPECT_EQ(texts(all_ranks(schedule::ring, 1)), std::vector<std::string>{"0"});
}

TEST(SumOrder, OfATreeHasSumsThatJoinLater) {
  EXPECT_EQ(texts(testing::all_ranks_of_tree()), std::vector<std::string>{"((1) 0 ((3) 2)) 4 [5]"});
}

TEST(SumOrder, OfSchedulesThatGiveNoResultIsAnError) {
  std::vector<schedule::Schedule> by_rank = all_ranks(schedule::ring, 3);
  by_rank[1].steps.clear();
  const auto outcome = cpdcomm::testing::outcome_of([&] { sum_orders(by_rank); });
  EXPECT_TRUE(outcome.is(ErrorCode::invalid_argument));
  EXPECT_NE(outcome.message.find("'ring' of 3 ranks gives chunk 0 no result"), std::string::npos)
      << outcome;
}

}  // namespace
}  // namespace cpdcomm::perf
