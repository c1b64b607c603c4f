// Peers that are missing, late or gone: an error in time, a dead communicator, a sound process.
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>

#include "support/bits.hpp"
#include "support/ranks.hpp"
#include "support/wrapped_transport.hpp"
#include "transport/threads.hpp"

// What a network that has failed may still write to is left to it for good.
extern "C" CPDCOMM_API const char* __lsan_default_suppressions();
const char* __lsan_default_suppressions() { return "leak:cpdcomm::collective::BufferPool::take"; }

namespace cpdcomm::testing {
namespace {

using Values = std::vector<float>;

CommunicatorOptions hasty() { return {.timeout = std::chrono::milliseconds(100)}; }

bool is_end(const Outcome& outcome) {
  return outcome.is(ErrorCode::timeout) || outcome.is(ErrorCode::peer_failed);
}

void expect_dead(Ranks& ranks, int rank) {
  Communicator& self = ranks[rank];
  Values values(3);
  std::vector<std::byte> bytes(3);
  std::vector<std::byte> all(3 * static_cast<std::size_t>(self.size()));
  for (const auto& call : std::vector<std::function<void()>>{
           [&] { self.allreduce(values); }, [&] { self.broadcast(bytes, 0); },
           [&] { self.allgather(bytes, all); }, [&] { self.barrier(); }}) {
    const Outcome outcome = outcome_of(call);
    EXPECT_TRUE(outcome.is(ErrorCode::peer_failed)) << outcome;
    EXPECT_NE(outcome.message.find("dead"), std::string::npos) << outcome;
  }
  self.refuse("nobody hears it");
}

class MissingRank : public ::testing::TestWithParam<Algorithm> {};

TEST_P(MissingRank, EndsTheCallInTime) {
  Ranks ranks(3, hasty());
  const auto outcomes = ranks.outcomes([](Communicator& self) {
    Values values(10000, 1.0f);
    if (self.rank() != 2) self.allreduce(values, {.algorithm = GetParam()});
  });
  EXPECT_TRUE(outcomes[0].is(ErrorCode::timeout) || outcomes[1].is(ErrorCode::timeout));
  for (const int rank : {0, 1}) {
    EXPECT_TRUE(is_end(outcomes[static_cast<std::size_t>(rank)]));
    expect_dead(ranks, rank);
  }
  // The missing rank comes at last, and hears what has happened.
  const Outcome late = outcome_of([&] {
    Values values(10000, 1.0f);
    ranks[2].allreduce(values, {.algorithm = GetParam(), .timeout = std::chrono::minutes(2)});
  });
  EXPECT_TRUE(late.is(ErrorCode::peer_failed)) << late;
  expect_dead(ranks, 2);
}

TEST_P(MissingRank, IsNamed) {
  Ranks ranks(2, hasty());
  const Outcome outcome = outcome_of([&] {
    Values values(10);
    ranks[0].allreduce(values, {.algorithm = GetParam()});
  });
  EXPECT_TRUE(outcome.is(ErrorCode::timeout)) << outcome;
  EXPECT_NE(outcome.message.find("rank 1"), std::string::npos) << outcome;
}

INSTANTIATE_TEST_SUITE_P(All, MissingRank,
                         ::testing::Values(Algorithm::direct, Algorithm::ring, Algorithm::tree,
                                           Algorithm::halving_doubling),
                         [](const auto& test) { return to_string(test.param); });

TEST(Timeout, OfTheCallWinsOverThatOfTheCommunicator) {
  Ranks ranks(2);
  const Outcome outcome = outcome_of([&] {
    Values values(10);
    ranks[0].allreduce(values, {.timeout = std::chrono::milliseconds(50)});
  });
  EXPECT_TRUE(outcome.is(ErrorCode::timeout)) << outcome;
}

TEST(Timeout, MayBeForEver) {
  Ranks ranks(2, {.timeout = std::chrono::milliseconds::max()});
  ranks.run([](Communicator& self) {
    Values values(10, 1.0f);
    self.allreduce(values, {.timeout = std::chrono::milliseconds::max()});
    EXPECT_TRUE(same_bits(values, Values(10, 2.0f)));
    self.barrier();
  });
}

TEST(Timeout, HoldsForEveryCall) {
  std::vector<std::byte> bytes(10);
  std::vector<std::byte> all(20);
  for (const auto& call : std::vector<std::function<void(Communicator&)>>{
           [&](Communicator& self) { self.barrier(); },
           [&](Communicator& self) { self.broadcast(bytes, 1); },
           [&](Communicator& self) { self.allgather(bytes, all); }}) {
    Ranks ranks(2, hasty());
    const Outcome outcome = outcome_of([&] { call(ranks[0]); });
    EXPECT_TRUE(outcome.is(ErrorCode::timeout)) << outcome;
  }
}

TEST(Timeout, MustBePositive) {
  for (const int wrong : {0, -1}) {
    EXPECT_THROW(make_thread_communicators(2, {.timeout = std::chrono::milliseconds(wrong)}),
                 Error);
  }
}

TEST(LateRank, IsWaitedFor) {
  Ranks ranks(3);
  ranks.run([](Communicator& self) {
    for (int round = 0; round < 3; ++round) {
      if (self.rank() == round) std::this_thread::sleep_for(std::chrono::milliseconds(60));
      Values values(50000, 1.0f);
      const Report report = self.allreduce(values);
      EXPECT_TRUE(same_bits(values, Values(50000, 3.0f)));
      EXPECT_GE(report.wait_seconds, 0.0);
    }
  });
}

TEST(Communicators, MayEndInAnyOrder) {
  for (int last = 0; last < 3; ++last) {
    std::vector<Communicator> communicators = make_thread_communicators(3);
    std::vector<std::thread> threads;
    for (auto& communicator : communicators) {
      threads.emplace_back([&communicator, last] {
        Communicator self = std::move(communicator);
        Values values(100000, 1.0f);
        self.allreduce(values);
        if (self.rank() == last) std::this_thread::sleep_for(std::chrono::milliseconds(5));
      });
    }
    for (std::thread& thread : threads) thread.join();
  }
}

TEST(Communicators, MayBeUsedByManyThreadsInTurn) {
  Ranks ranks(2);
  ranks.run([](Communicator& self) {
    std::vector<std::thread> threads;
    std::atomic<int> good{0};
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (int round = 0; round < 50; ++round) {
          Values values(200, 1.0f);
          self.allreduce(values);
          good += same_bits(values, Values(200, 2.0f)) ? 1 : 0;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(good, 200);
  });
}

TEST(Refusal, ForGoodEndsTheCommunicator) {
  Ranks ranks(3);
  const auto outcomes = ranks.outcomes([](Communicator& self) {
    Values values(10);
    if (self.rank() == 1) {
      self.refuse("this process ends", ErrorCode::peer_failed);
    } else {
      self.allreduce(values);
    }
  });
  EXPECT_FALSE(outcomes[1].code);
  for (const int rank : {0, 2}) {
    const Outcome& outcome = outcomes[static_cast<std::size_t>(rank)];
    EXPECT_TRUE(outcome.is(ErrorCode::peer_failed)) << outcome;
    EXPECT_NE(outcome.message.find("this process ends"), std::string::npos) << outcome;
    expect_dead(ranks, rank);
  }
}

TEST(Abort, EndsTheCallThatAnotherThreadIsIn) {
  Ranks ranks(3);
  const auto outcomes = ranks.outcomes([](Communicator& self) {
    if (self.rank() == 2) return;  // its peers would wait for ever
    std::thread other([&self] {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      if (self.rank() == 0) self.abort();
    });
    const Outcome outcome = outcome_of([&] {
      Values values(10);
      self.allreduce(values);
    });
    other.join();
    EXPECT_TRUE(outcome.is(ErrorCode::peer_failed)) << outcome;
  });
  expect_dead(ranks, 0);
  expect_dead(ranks, 1);
}

TEST(Abort, EndsTheNextCallToo) {
  Ranks ranks(2);
  ranks[0].abort();
  const auto outcomes = ranks.outcomes([](Communicator& self) {
    Values values(10);
    self.allreduce(values);
  });
  for (const Outcome& outcome : outcomes) {
    EXPECT_TRUE(outcome.is(ErrorCode::peer_failed)) << outcome;
  }
}

enum class Operation { send, expect, progress };

/// A network of which one kind of operation fails from some time on.
class BreakingTransport final : public WrappedTransport {
 public:
  BreakingTransport(std::unique_ptr<Transport> inner, Operation breaks, int lifetime)
      : WrappedTransport(std::move(inner)), breaks_(breaks), left_(lifetime) {}

  void expect(int peer, int channel) override {
    age(Operation::expect);
    WrappedTransport::expect(peer, channel);
  }
  void progress() override {
    age(Operation::progress);
    WrappedTransport::progress();
  }
  bool sends_wait_for_peers() const override { return true; }

 private:
  transport::Request start_send(int peer, int channel, std::span<const std::byte> bytes) override {
    age(Operation::send);
    return WrappedTransport::start_send(peer, channel, bytes);
  }
  void age(Operation operation) {
    if (operation != breaks_) return;
    if (left_ == 0) throw Error(ErrorCode::peer_failed, "the cable is cut");
    --left_;
  }

  Operation breaks_;
  int left_;
};

class Network : public ::testing::TestWithParam<Operation> {
 protected:
  /// Rank 0 has a bad cable.
  static Ranks ranks_that_break(Operation operation, int lifetime) {
    std::vector<Communicator> communicators;
    for (auto& transport : transport::make_thread_transports(2)) {
      if (transport->rank() == 0) {
        transport = std::make_unique<BreakingTransport>(std::move(transport), operation, lifetime);
      }
      communicators.emplace_back(std::move(transport), hasty());
    }
    return Ranks(std::move(communicators));
  }
};

TEST_P(Network, ThatFailsKillsTheCommunicatorAndNothingElse) {
  for (const auto algorithm : {Algorithm::direct, Algorithm::ring}) {
    for (const int lifetime : {0, 1, 2, 3, 7, 41}) {
      SCOPED_TRACE(lifetime);
      Ranks ranks = ranks_that_break(GetParam(), lifetime);
      const auto outcomes = ranks.outcomes([&](Communicator& self) {
        for (int i = 0; i < 50; ++i) {
          Values values(1000, 1.0f);
          self.allreduce(values, {.algorithm = algorithm});
        }
      });
      EXPECT_TRUE(outcomes[0].is(ErrorCode::peer_failed)) << outcomes[0];
      EXPECT_TRUE(is_end(outcomes[1])) << outcomes[1];
      expect_dead(ranks, 0);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Network,
                         ::testing::Values(Operation::send, Operation::expect,
                                           Operation::progress));

}  // namespace
}  // namespace cpdcomm::testing
