#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "cpdcomm/bootstrap.hpp"
#include "cpdcomm/error.hpp"
#include "support/ranks.hpp"
#include "support/scratch.hpp"

namespace cpdcomm::testing {
namespace {

using namespace std::chrono_literals;

std::vector<std::byte> bytes(const std::string& text) {
  const auto view = std::as_bytes(std::span(text));
  return {view.begin(), view.end()};
}

void expect_refused(const Outcome& outcome, const std::string& part) {
  EXPECT_TRUE(outcome.is(ErrorCode::invalid_argument)) << outcome;
  EXPECT_NE(outcome.message.find(part), std::string::npos) << outcome;
}

class FileBootstraps : public ::testing::Test {
 protected:
  /// Every rank says `word`, its number and the round's.
  void exchange(int ranks, int rounds, const std::string& run) {
    std::vector<std::thread> threads;
    for (int rank = 0; rank < ranks; ++rank) {
      threads.emplace_back([&, rank] {
        FileBootstrap bootstrap(scratch_.path(), rank, ranks, 20s, run);
        for (int round = 0; round < rounds; ++round) {
          const auto all = bootstrap.allgather(bytes(said(run, rank, round)));
          ASSERT_EQ(all.size(), static_cast<std::size_t>(ranks));
          for (int peer = 0; peer < ranks; ++peer) {
            EXPECT_EQ(all[static_cast<std::size_t>(peer)], bytes(said(run, peer, round)));
          }
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
  /// Of a length of its own; rank 0 says nothing in round 0.
  static std::string said(const std::string& run, int rank, int round) {
    if (rank == 0 && round == 0) return "";
    return run + std::string(static_cast<std::size_t>(rank), '.') + std::to_string(round);
  }
  FileBootstrap one(int rank = 0, int size = 1, const std::string& run = "run") const {
    return FileBootstrap(scratch_.path(), rank, size, 100ms, run);
  }

  Scratch scratch_;
};

TEST_F(FileBootstraps, GatherBytesOfAnyLengthInRankOrder) {
  exchange(4, 10, "first");
  exchange(3, 3, "second");  // in the same directory
}

TEST_F(FileBootstraps, NameTheRanksThatAreMissing) {
  FileBootstrap bootstrap = one(1, 4);
  const Outcome outcome = outcome_of([&] { bootstrap.allgather({}); });
  EXPECT_TRUE(outcome.is(ErrorCode::timeout)) << outcome;
  EXPECT_NE(outcome.message.find("ranks 0, 2, 3 of 4 did not come"), std::string::npos) << outcome;

  FileBootstrap large = one(0, 100, "large");
  const Outcome many = outcome_of([&] { large.allgather({}); });
  EXPECT_NE(many.message.find("1, 2, 3, 4, 5, 6, 7, 8 and 91 more"), std::string::npos) << many;
}

TEST_F(FileBootstraps, RefuseWhatAnEarlierRunHasLeft) {
  one().allgather({});
  FileBootstrap again = one();
  expect_refused(outcome_of([&] { again.allgather({}); }), "empty directory");
  one(0, 1, "another").allgather({});
}

TEST_F(FileBootstraps, RefuseWhatCannotBe) {
  expect_refused(outcome_of([] { FileBootstrap("/no/such/place", 0, 1); }), "/no/such/place");
  expect_refused(outcome_of([&] { one(2, 2); }), "rank 2 of 2");
  expect_refused(outcome_of([&] { one(-1, 2); }), "rank -1 of 2");
  expect_refused(outcome_of([&] { one(0, 0); }), "rank 0 of 0");
  expect_refused(outcome_of([&] { one(0, 1, "../up"); }), "../up");
  expect_refused(outcome_of([&] { one(0, 1, ""); }), "''");
}

TEST_F(FileBootstraps, SayWhenTheyCannotWrite) {
  FileBootstrap bootstrap = one();
  std::filesystem::remove(scratch_.path());
  expect_refused(outcome_of([&] { bootstrap.allgather({}); }), "cannot be written");
}

}  // namespace
}  // namespace cpdcomm::testing
