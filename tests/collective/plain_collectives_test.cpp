// Collectives that carry everything as it is: to a root, from a root, each to each.
#include <gtest/gtest.h>

#include "support/collectives.hpp"
#include "support/ranks.hpp"
#include "support/sharing_ranks.hpp"

namespace cpdcomm::testing {
namespace {

constexpr std::size_t kLong = 70'000;  // words: many segments

void expect_all_right(Ranks ranks, std::initializer_list<std::size_t> counts) {
  ranks.run([&](Communicator& self) {
    for (const std::size_t count : counts) check_collectives(self, count);
  });
}

TEST(PlainCollectives, AreRightOnThreads) {
  for (const int ranks : {1, 2, 3, 4, 5, 7, 8}) {
    SCOPED_TRACE(ranks);
    expect_all_right(Ranks(ranks), {0, 1, 7, 1000, 5000});
  }
  expect_all_right(Ranks(4), {kLong});
  expect_all_right(Ranks(33), {3});
}

TEST(PlainCollectives, AreRightInSmallSegments) {
  expect_all_right(Ranks(4, Ranks::patient(256)), {1, 1000, 5000});
}

TEST(PlainCollectives, AreRightInSharedMemory) {
  for (const int ranks : {2, 4}) {
    SCOPED_TRACE(ranks);
    expect_all_right(make_sharing_ranks(1, ranks, Ranks::patient()), {0, 1, 1000, kLong});
  }
  expect_all_right(make_sharing_ranks(2, 2, Ranks::patient()), {0, 1, 1000, kLong});
}

/// Every rank learns of a mistake of one, and the group goes on.
void expect_fails(const std::function<void(Communicator&)>& call, const std::string& own,
                  int culprit = 1) {
  Ranks ranks(3);
  const auto outcomes = ranks.outcomes(call);
  const Outcome& mine = outcomes[static_cast<std::size_t>(culprit)];
  EXPECT_TRUE(mine.is(ErrorCode::invalid_argument)) << mine;
  EXPECT_NE(mine.message.find(own), std::string::npos) << mine;
  ranks.run([](Communicator& self) { check_collectives(self, 10); });
}

TEST(PlainCollectives, RefuseARootThatIsNoRank) {
  Ranks ranks(3);
  const auto outcomes = ranks.outcomes([](Communicator& self) {
    Words mine(4);
    Words none;
    self.gather(bytes_of(mine), bytes_of(none), 3);
  });
  for (const Outcome& outcome : outcomes) {
    EXPECT_TRUE(outcome.is(ErrorCode::invalid_argument)) << outcome;
    EXPECT_NE(outcome.message.find("root is 3; the ranks are 0 to 2"), std::string::npos)
        << outcome;
  }
}

TEST(PlainCollectives, RefuseABufferOfAnotherSize) {
  expect_fails(
      [](Communicator& self) {
        Words to_all(6);
        Words from_all(self.rank() == 1 ? 5 : 6);
        self.alltoall(bytes_of(to_all), bytes_of(from_all));
      },
      "needs room for 24, not 20");
}

TEST(PlainCollectives, RefuseBuffersThatOverlap) {
  expect_fails(
      [](Communicator& self) {
        Words words(9);
        const auto bytes = bytes_of(words);
        const std::size_t from = self.rank() == 1 ? 4 : 12;
        self.alltoall(bytes.first(12), bytes.subspan(from, 12));
      },
      "the buffers of alltoall overlap");
}

TEST(PlainCollectives, FindOutUnevenPartsThatDoNotMatch) {
  Ranks ranks(3);
  const auto outcomes = ranks.outcomes([](Communicator& self) {
    const std::vector<std::size_t> to_sizes{4, 8, self.rank() == 1 ? 16u : 12u};
    const std::vector<std::size_t> from_sizes(3, 4 + 4 * index_of(self));
    Words to_all((12 + to_sizes[2]) / 4);
    Words from_all(3 * from_sizes[0] / 4);
    self.alltoall(bytes_of(to_all), to_sizes, bytes_of(from_all), from_sizes);
  });
  for (const Outcome& outcome : outcomes) {
    EXPECT_TRUE(outcome.is(ErrorCode::mismatch)) << outcome;
    EXPECT_NE(outcome.message.find("rank 1 has 16 bytes for rank 2, which expects 12"),
              std::string::npos)
        << outcome;
  }
  ranks.run([](Communicator& self) { check_collectives(self, 10); });
}

TEST(PlainCollectives, FindOutRanksThatGatherToDifferentRoots) {
  Ranks ranks(2);
  const auto outcomes = ranks.outcomes([](Communicator& self) {
    Words mine(4);
    Words all(8);
    self.gather(bytes_of(mine), bytes_of(all), self.rank());
  });
  for (const Outcome& outcome : outcomes) EXPECT_TRUE(outcome.is(ErrorCode::mismatch)) << outcome;
}

TEST(PlainCollectives, ReduceRefusesWhatIsForLowPrecision) {
  Ranks ranks(2);
  const auto outcomes = ranks.outcomes([](Communicator& self) {
    std::vector<float> values(8);
    const Tensor tensor{
        .data = values.data(), .count = values.size(), .wire = Format::parse("e4m3")};
    self.reduce({&tensor, 1}, 0);
  });
  for (const Outcome& outcome : outcomes) {
    EXPECT_TRUE(outcome.is(ErrorCode::invalid_argument)) << outcome;
  }
}

TEST(PlainCollectives, EndInTimeWhenARankDoesNotCome) {
  Ranks ranks(2, {.timeout = std::chrono::seconds(120)});
  const auto outcomes = ranks.outcomes([](Communicator& self) {
    if (self.rank() == 1) return;
    self.barrier(std::chrono::milliseconds(50));
  });
  EXPECT_TRUE(outcomes[0].is(ErrorCode::timeout)) << outcomes[0];
}

}  // namespace
}  // namespace cpdcomm::testing
