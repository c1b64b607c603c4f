// Messages between two ranks, beside the calls that all make.
#include <gtest/gtest.h>

#include <thread>

#include "support/collectives.hpp"
#include "support/ranks.hpp"
#include "support/sharing_ranks.hpp"

namespace cpdcomm::testing {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kShort = 10;        // words: sent at once
constexpr std::size_t kOffered = 3000;    // one piece
constexpr std::size_t kLong = 1'000'000;  // many pieces

void expect_failed(const Outcome& outcome, ErrorCode code, const std::string& text) {
  EXPECT_TRUE(outcome.is(code)) << outcome;
  EXPECT_NE(outcome.message.find(text), std::string::npos) << outcome;
}

class Transfers : public ::testing::TestWithParam<std::size_t> {
 protected:
  const std::size_t count_ = GetParam();
};

TEST_P(Transfers, ArriveWhetherTheReceiveOrTheSendIsFirst) {
  for (const int first : {0, 1}) {
    Ranks ranks(2);
    ranks.run([&](Communicator& self) {
      if (self.rank() != first) std::this_thread::sleep_for(20ms);
      Words words_of_rank_0 = words(0, 1, count_);
      if (self.rank() == 0) {
        EXPECT_EQ(self.isend(bytes_of(words_of_rank_0), 1, 3).wait(), 1);
      } else {
        Words received(count_);
        EXPECT_EQ(self.irecv(bytes_of(received), 0, 3).wait(), 0);
        EXPECT_EQ(received, words_of_rank_0);
      }
    });
  }
}

TEST_P(Transfers, WithOneTagKeepTheirOrder) {
  Ranks ranks(2);
  ranks.run([&](Communicator& self) {
    constexpr int kMany = 20;
    std::vector<Words> all;
    std::vector<Transfer> transfers;
    all.reserve(kMany);
    for (int i = 0; i < kMany; ++i) {
      all.push_back(self.rank() == 0 ? words(0, i, count_) : Words(count_));
      transfers.push_back(self.rank() == 0 ? self.isend(bytes_of(all.back()), 1)
                                           : self.irecv(bytes_of(all.back()), 0));
    }
    for (Transfer& transfer : transfers) transfer.wait();
    for (int i = 0; i < kMany; ++i) {
      EXPECT_EQ(all[static_cast<std::size_t>(i)], words(0, i, count_));
    }
  });
}

TEST_P(Transfers, FromAnyRankSayWhoseTheyAre) {
  Ranks ranks(4);
  ranks.run([&](Communicator& self) {
    if (self.rank() != 0) {
      Words mine = words(self.rank(), 0, count_);
      self.isend(bytes_of(mine), 0, 5).wait();
      return;
    }
    std::vector<int> sources;
    for (int i = 1; i < 4; ++i) {
      Words received(count_);
      sources.push_back(self.irecv(bytes_of(received), kAnyRank, 5).wait());
      EXPECT_EQ(received, words(sources.back(), 0, count_));
    }
    std::ranges::sort(sources);
    EXPECT_EQ(sources, (std::vector<int>{1, 2, 3}));
  });
}

/// A message that waits for its receiver holds up no call, and a call holds up no message.
TEST_P(Transfers, GoBesideCalls) {
  for (const bool shared : {false, true}) {
    Ranks ranks = shared ? make_sharing_ranks(1, 3, Ranks::patient()) : Ranks(3);
    ranks.run([&](Communicator& self) {
      Words mine = words(self.rank(), 7, count_);
      Words received(count_);
      const int next = (self.rank() + 1) % 3;
      const int previous = (self.rank() + 2) % 3;
      std::vector<Transfer> sends;
      for (int i = 0; i < 30; ++i) sends.push_back(self.isend(bytes_of(mine), next, 1));
      for (int i = 0; i < 30; ++i) {
        std::vector<float> values(50'000, 1.0f);
        self.allreduce(values, {.wire = Format::parse("e4m3")});
        EXPECT_EQ(values[0], 3.0f);
        std::ranges::fill(received, 0u);
        self.irecv(bytes_of(received), previous, 1).wait();
        EXPECT_EQ(received, words(previous, 7, count_));
      }
      for (Transfer& send : sends) send.wait();
    });
  }
}

TEST_P(Transfers, MoveWhileARankIsInACall) {
  Ranks ranks(3);
  ranks.run([&](Communicator& self) {
    Words message = words(0, 1, count_);
    if (self.rank() == 2) {  // whom the others wait for
      std::this_thread::sleep_for(200ms);
    }
    Words received(count_);
    std::vector<Transfer> transfers;
    if (self.rank() == 0) transfers.push_back(self.isend(bytes_of(message), 1));
    if (self.rank() == 1) transfers.push_back(self.irecv(bytes_of(received), 0));
    std::thread caller([&] { self.barrier(); });
    for (Transfer& transfer : transfers) EXPECT_TRUE(transfer.wait_for(100s));
    caller.join();
    if (self.rank() == 1) {
      EXPECT_EQ(received, message);
    }
  });
}

TEST_P(Transfers, OfAnotherSizeThanExpectedAreRefused) {
  Ranks ranks(2);
  PerRank<Outcome> outcomes(2);
  ranks.run([&](Communicator& self) {
    Words place(self.rank() == 0 ? count_ : count_ + 1);
    outcomes[index_of(self)] = outcome_of([&] {
      if (self.rank() == 0) {
        self.isend(bytes_of(place), 1, 2).wait();
      } else {
        self.irecv(bytes_of(place), 0, 2).wait();
      }
    });
    check_transfers(self, count_);  // the communicator is usable
    check_alltoall(self, 10);
  });
  const auto bytes = std::to_string(count_ * 4);
  expect_failed(outcomes[1], ErrorCode::mismatch, "rank 0 has sent " + bytes + " bytes");
  if (count_ <= kShort) {
    EXPECT_FALSE(outcomes[0].code) << outcomes[0];  // it was on its way before
  } else {
    expect_failed(outcomes[0], ErrorCode::mismatch, "not " + bytes);
  }
}

TEST_P(Transfers, ThatNobodySendsEndInTime) {
  Ranks ranks(2);
  Words place(count_);
  const Outcome outcome = outcome_of([&] { ranks[1].irecv(bytes_of(place), 0, 6, 50ms).wait(); });
  expect_failed(outcome, ErrorCode::timeout, "receive 1 from rank 0 (tag 6)");
  // Then the communicator is dead, and the others learn of it.
  const auto outcomes = ranks.outcomes([](Communicator& self) { self.barrier(); });
  for (const Outcome& after : outcomes) expect_failed(after, ErrorCode::peer_failed, "receive 1");
}

TEST_P(Transfers, FromARankThatHasLeftFailAtOnce) {
  for (const bool shared : {false, true}) {
    Ranks ranks = shared ? make_sharing_ranks(1, 2, Ranks::patient()) : Ranks(2);
    PerRank<Outcome> outcomes(2);
    ranks.run([&](Communicator& self) {
      if (self.rank() == 0) {
        std::this_thread::sleep_for(50ms);
        const Communicator gone = std::move(self);
        return;
      }
      Words place(count_);
      outcomes[1] = outcome_of([&] { self.irecv(bytes_of(place), 0).wait(); });
    });
    expect_failed(outcomes[1], ErrorCode::peer_failed, "rank 0 has left");
  }
}

/// Whoever waits for a rank that has given up, because of a third one, must not wait for the
/// deadline: neither in a message nor in a call of all ranks.
TEST_P(Transfers, OfARankThatHasGivenUpFailAtOnce) {
  for (const bool in_a_call : {false, true}) {
    Ranks ranks(3, Ranks::patient());
    PerRank<Outcome> outcomes(3);
    ranks.run([&](Communicator& self) {
      if (self.rank() == 2) return;  // never sends
      Words place(count_);
      outcomes[index_of(self)] = outcome_of([&] {
        if (self.rank() == 0) {
          self.irecv(bytes_of(place), 2, 0, 100ms).wait();
        } else if (in_a_call) {
          self.barrier();
        } else {
          self.irecv(bytes_of(place), 0).wait();
        }
      });
    });
    expect_failed(outcomes[0], ErrorCode::timeout, "receive 1 from rank 2");
    expect_failed(outcomes[1], ErrorCode::peer_failed, "rank 0 gave up: receive 1 from rank 2");
  }
}

TEST_P(Transfers, EndWhenTheirRankAborts) {
  Ranks ranks(2);
  Words place(count_);
  Transfer receive = ranks[0].irecv(bytes_of(place), 1);
  ranks[0].abort();
  expect_failed(outcome_of([&] { receive.wait(); }), ErrorCode::peer_failed, "aborted");
  Transfer later = ranks[0].irecv(bytes_of(place), 1);
  expect_failed(outcome_of([&] { later.wait(); }), ErrorCode::peer_failed, "dead");
}

INSTANTIATE_TEST_SUITE_P(Sizes, Transfers, ::testing::Values(0, kShort, kOffered, kLong));

TEST(Transfer, RefusesPeersThatAreNone) {
  Ranks ranks(2);
  Words place(1);
  for (const int peer : {0, 2, -2}) {
    expect_failed(outcome_of([&] { ranks[0].isend(bytes_of(place), peer); }),
                  ErrorCode::invalid_argument,
                  "rank 0 cannot send to rank " + std::to_string(peer));
  }
  expect_failed(outcome_of([&] { ranks[0].isend(bytes_of(place), kAnyRank); }),
                ErrorCode::invalid_argument, "cannot send");
  expect_failed(outcome_of([&] { ranks[0].irecv(bytes_of(place), 0); }),
                ErrorCode::invalid_argument, "cannot receive");
}

TEST(Transfer, OnceWaitedForIsOver) {
  Ranks ranks(2);
  Words place(1);
  {
    Transfer receive = ranks[0].irecv(bytes_of(place), 1);
    EXPECT_FALSE(receive.done());
    EXPECT_FALSE(receive.wait_for(1ms));
    const Words word{42};
    ranks[1].isend(bytes_of(word), 0).wait();
    EXPECT_TRUE(receive.wait_for(100s));
    EXPECT_TRUE(receive.done());
    EXPECT_EQ(receive.wait(), 1);
  }
  EXPECT_EQ(place[0], 42u);
}

}  // namespace
}  // namespace cpdcomm::testing
