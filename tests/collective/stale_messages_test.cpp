// What calls that failed leave behind: it is dropped, and neither grows nor spoils a later call.
#include <gtest/gtest.h>

#include <atomic>

#include "support/bits.hpp"
#include "support/ranks.hpp"
#include "support/wrapped_transport.hpp"
#include "transport/threads.hpp"

namespace cpdcomm::testing {
namespace {

using Values = std::vector<float>;

/// Counts messages of all ranks that were sent and not yet released.
class CountingTransport final : public WrappedTransport {
 public:
  CountingTransport(std::unique_ptr<Transport> inner, std::atomic<long>& under_way)
      : WrappedTransport(std::move(inner)), under_way_(under_way) {}

  void release(const transport::Arrival& arrival) override {
    --under_way_;
    WrappedTransport::release(arrival);
  }

 private:
  transport::Request start_send(int peer, int channel, std::span<const std::byte> bytes) override {
    ++under_way_;
    return WrappedTransport::start_send(peer, channel, bytes);
  }

  std::atomic<long>& under_way_;
};

class StaleMessages : public ::testing::Test {
 protected:
  static constexpr int kRanks = 2;
  static constexpr int kCalls = 1000;
  static constexpr std::size_t kMany = 20'000;  // values: all lanes are in use

  Ranks make_ranks() {
    std::vector<Communicator> communicators;
    for (auto& transport : transport::make_thread_transports(kRanks)) {
      communicators.emplace_back(
          std::make_unique<CountingTransport>(std::move(transport), under_way_),
          Ranks::patient(1000));
    }
    return Ranks(std::move(communicators));
  }

  /// A call of `first` values on rank 0 and `second` on rank 1 that fails on both.
  static void fail(Communicator& self, std::size_t first, std::size_t second) {
    Values values(self.rank() == 0 ? first : second, 7.0f);
    const Outcome outcome =
        outcome_of([&] { self.allreduce(values, {.algorithm = Algorithm::direct}); });
    EXPECT_TRUE(outcome.is(ErrorCode::mismatch)) << outcome;
  }

  static void expect_a_sum(Communicator& self, std::size_t count) {
    Values values(count, static_cast<float>(self.rank() + 1));
    self.allreduce(values, {.algorithm = Algorithm::direct});
    EXPECT_TRUE(same_bits(values, Values(count, 3.0f)));
  }

  std::atomic<long> under_way_{0};
  Ranks ranks_ = make_ranks();
};

/// Rank 1 sends on channels that rank 0, whose calls are short, does not use.
TEST_F(StaleMessages, DoNotPileUp) {
  constexpr long kAFewCalls = 100;  // messages
  ranks_.run([&](Communicator& self) {
    for (int call = 0; call < kCalls; ++call) fail(self, 10, kMany);
    expect_a_sum(self, 10);
  });
  EXPECT_LT(under_way_, kAFewCalls);
  ranks_.run([&](Communicator& self) { expect_a_sum(self, kMany); });
}

/// Rank 0 is a thousand calls ahead, all of which it has refused.
TEST_F(StaleMessages, OfCallsThatARankRefusedAreHeardOneByOne) {
  ranks_.run([&](Communicator& self) {
    for (int call = 0; call < kCalls; ++call) {
      Values values(10, 1.0f);
      AllreduceOptions options{.algorithm = Algorithm::direct};
      if (self.rank() == 0) options.emulate_nodes = -1;
      const Outcome outcome = outcome_of([&] { self.allreduce(values, options); });
      EXPECT_TRUE(outcome.code) << call;
      EXPECT_FALSE(outcome.is(ErrorCode::timeout)) << outcome;
    }
    expect_a_sum(self, kMany);
  });
  // Rank 1 may have failed last after rank 0 began to wait for it.
  ranks_.run([&](Communicator& self) { expect_a_sum(self, 10); });
  EXPECT_LT(under_way_, 100);
}

}  // namespace
}  // namespace cpdcomm::testing
