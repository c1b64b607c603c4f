// Calls that were started: in order, many at once, with the bits and the errors of blocking ones.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "support/bits.hpp"
#include "support/patterns.hpp"
#include "support/ranks.hpp"

namespace cpdcomm::testing {
namespace {

using Values = std::vector<float>;
using namespace std::chrono_literals;

constexpr int kRanks = 3;
constexpr std::size_t kCalls = 24;

AllreduceOptions options_of(std::size_t call) {
  const char* const wires[] = {"e4m3", "fp32", "bfp8:64", "e3m0"};
  const Algorithm algorithms[] = {Algorithm::direct, Algorithm::ring, Algorithm::tree};
  return {.wire = Format::parse(wires[call % 4]), .algorithm = algorithms[call % 3]};
}

Values part(std::size_t call, int rank) {
  return gradients(100 + 997 * (call % 5),
                   static_cast<unsigned>(call * 10) + static_cast<unsigned>(rank));
}

Pending start(Communicator& self, Values& values, const AllreduceOptions& options = {}) {
  const Tensor tensor{.data = values.data(), .count = values.size()};
  return self.iallreduce({&tensor, 1}, options);
}

/// What blocking calls give.
std::vector<Values> wanted() {
  Ranks ranks(kRanks, Ranks::patient(500));
  std::vector<Values> results;
  for (std::size_t call = 0; call < kCalls; ++call) {
    ranks.run([&](Communicator& self) {
      Values values = part(call, self.rank());
      self.allreduce(values, options_of(call));
      if (self.rank() == 0) results.push_back(values);
    });
  }
  return results;
}

TEST(Iallreduce, GivesTheBitsOfBlockingCallsWithManyUnderWay) {
  const std::vector<Values> due = wanted();
  Ranks ranks(kRanks, Ranks::patient(500));
  ranks.run([&](Communicator& self) {
    std::vector<Values> values;
    for (std::size_t call = 0; call < kCalls; ++call) values.push_back(part(call, self.rank()));
    std::vector<Pending> pending;
    for (std::size_t call = 0; call < kCalls; ++call) {
      pending.push_back(start(self, values[call], options_of(call)));
    }
    // In any order they may be waited for.
    for (std::size_t call = kCalls; call-- > 0;) {
      const Report report = pending[call].wait();
      EXPECT_EQ(report.algorithm, options_of(call).algorithm);
      EXPECT_TRUE(pending[call].done());
      EXPECT_TRUE(same_bits(values[call], due[call])) << "call " << call;
    }
  });
}

TEST(Iallreduce, KeepsItsTurnAmongOtherCalls) {
  const std::vector<Values> due = wanted();
  Ranks ranks(kRanks, Ranks::patient(500));
  ranks.run([&](Communicator& self) {
    std::vector<Values> values;
    std::vector<Pending> pending;
    values.reserve(kCalls);
    for (std::size_t call = 0; call < kCalls; ++call) {
      values.push_back(part(call, self.rank()));
      if (call % 3 != 2) {
        pending.push_back(start(self, values.back(), options_of(call)));
        continue;
      }
      self.allreduce(values.back(), options_of(call));
      // A blocking call runs after all that were started before it.
      for (const Pending& before : pending) EXPECT_TRUE(before.done());
      std::vector<std::byte> word(3, std::byte(self.rank() == 1 ? 77 : 0));
      self.broadcast(word, 1);
      EXPECT_EQ(word, std::vector<std::byte>(3, std::byte{77}));
    }
    for (Pending& one : pending) one.wait();
    for (std::size_t call = 0; call < kCalls; ++call) {
      EXPECT_TRUE(same_bits(values[call], due[call])) << "call " << call;
    }
  });
}

TEST(Iallreduce, ReturnsBeforeAPeerHasEntered) {
  Ranks ranks(2);
  std::atomic<bool> started = false;
  ranks.run([&](Communicator& self) {
    Values values(1000, 1.0f);
    if (self.rank() == 1) {
      while (!started) std::this_thread::yield();
    }
    Pending pending = start(self, values);
    if (self.rank() == 0) {
      std::this_thread::sleep_for(20ms);
      EXPECT_FALSE(pending.done());  // its peer waits for what follows
      started = true;
    }
    pending.wait();
    EXPECT_EQ(values[999], 2.0f);
  });
}

TEST(Iallreduce, HandsErrorsToWhoWaits) {
  Ranks ranks(2);
  ranks.run([&](Communicator& self) {
    Values values(10 + index_of(self), 1.0f);
    Pending wrong = start(self, values);
    Values right(10, 1.0f);
    Pending next = start(self, right);
    EXPECT_TRUE(outcome_of([&] { wrong.wait(); }).is(ErrorCode::mismatch));
    next.wait();
    EXPECT_EQ(right[9], 2.0f);
    EXPECT_TRUE(outcome_of([&] { next.wait(); }).is(ErrorCode::invalid_argument));
  });
}

TEST(Iallreduce, ErrorsOfARequestAreToldToPeersToo) {
  Ranks ranks(2);
  ranks.run([&](Communicator& self) {
    Values values(10, 1.0f);
    AllreduceOptions options{.wire = Format::parse("e4m3")};
    if (self.rank() == 0) options.emulate_nodes = -1;
    const Outcome outcome = outcome_of([&] { start(self, values, options).wait(); });
    EXPECT_TRUE(outcome.is(self.rank() == 0 ? ErrorCode::invalid_argument : ErrorCode::mismatch))
        << outcome;
  });
}

TEST(Iallreduce, IsWaitedForWhenItsHandleGoes) {
  Ranks ranks(kRanks);
  ranks.run([&](Communicator& self) {
    Values values(100000, 1.0f);
    { const Pending dropped = start(self, values); }
    EXPECT_EQ(values[99999], static_cast<float>(kRanks));
  });
}

TEST(Iallreduce, IsWaitedForWhenItsHandleGetsAnotherCall) {
  Ranks ranks(2);
  ranks.run([&](Communicator& self) {
    Values first(50000, 1.0f);
    Values second(10, 2.0f);
    {
      Pending pending = start(self, first);
      pending = start(self, second);
      pending.wait();
      EXPECT_EQ(second[9], 4.0f);
    }
    EXPECT_EQ(first[49999], 2.0f);
  });
}

TEST(Iallreduce, EndsBeforeTheCommunicatorDoes) {
  auto communicators = make_thread_communicators(2, Ranks::patient());
  std::vector<Values> values(2, Values(100000, 1.0f));
  std::vector<Pending> pending;
  for (std::size_t rank = 0; rank < 2; ++rank) {
    pending.push_back(start(communicators[rank], values[rank]));
  }
  std::thread other([&] { const Communicator gone = std::move(communicators[1]); });
  { const Communicator gone = std::move(communicators[0]); }
  other.join();
  for (Pending& one : pending) {
    EXPECT_TRUE(one.done());
    one.wait();
  }
  EXPECT_EQ(values[0][99999], 2.0f);
  EXPECT_EQ(values[1][99999], 2.0f);
}

TEST(Iallreduce, GoesOnWhileTheCommunicatorMoves) {
  Ranks ranks(2);
  ranks.run([&](Communicator& self) {
    Values values(100000, 1.0f);
    Pending pending = start(self, values);
    Communicator moved = std::move(self);
    Values more(10, 3.0f);
    moved.allreduce(more);
    EXPECT_TRUE(pending.done());
    pending.wait();
    EXPECT_EQ(values[0], 2.0f);
    EXPECT_EQ(more[0], 6.0f);
    self = std::move(moved);
  });
}

TEST(Iallreduce, CopiesWhatDescribesTheCall) {
  Ranks ranks(2);
  ranks.run([&](Communicator& self) {
    std::vector<Values> nodes(2, Values(5000, 1.0f));
    Values result(5000, 0.0f);
    Pending pending = [&] {
      const std::vector<const void*> places{nodes[0].data(), nodes[1].data()};
      const Tensor tensor{.data = result.data(), .count = result.size(), .nodes = places};
      const AllreduceOptions options{.wire = Format::parse("e4m3"), .emulate_nodes = 2};
      return self.iallreduce({&tensor, 1}, options);
    }();
    pending.wait();
    EXPECT_EQ(result[4999], 4.0f);
  });
}

}  // namespace
}  // namespace cpdcomm::testing
