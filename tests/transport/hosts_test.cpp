#include "transport/hosts.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "cpdcomm/error.hpp"
#include "support/local_bootstrap.hpp"
#include "support/wrapped_transport.hpp"
#include "transport/threads.hpp"

namespace cpdcomm::testing {
namespace {

using transport::Arrival;
using transport::Hosts;
using transport::kLongestMessage;
using transport::Neighbourhood;
using transport::Request;
using transport::Transport;

using Bytes = std::vector<std::byte>;

Bytes message(std::size_t size, unsigned first) {
  Bytes bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(first++);
  return bytes;
}

/// What a network was asked for.
struct Log {
  std::vector<int> sent_to;
  std::vector<int> expected;
  int progressed = 0;
  int abandoned = 0;
  int kept = 0;
  int sums = 0;
  bool done = true;
};

/// A network that tells what it is asked for.
class LoggedNetwork final : public WrappedTransport {
 public:
  LoggedNetwork(std::unique_ptr<Transport> inner, Log& log)
      : WrappedTransport(std::move(inner)), log_(log) {}

  bool done(Request) override { return log_.done; }
  void expect(int peer, int) override { log_.expected.push_back(peer); }
  void progress() override { ++log_.progressed; }
  bool sends_wait_for_peers() const override { return false; }
  void keep_address() override { ++log_.kept; }
  void abandon() override { ++log_.abandoned; }
  bool allreduce(const void*, void*, std::size_t, DataType, ReduceOp) override {
    return ++log_.sums > 0;
  }
  bool has_allreduce(DataType type, ReduceOp) const override { return type == DataType::fp32; }

 private:
  Request start_send(int peer, int channel, std::span<const std::byte> bytes) override {
    log_.sent_to.push_back(peer);
    return WrappedTransport::start_send(peer, channel, bytes);
  }

  Log& log_;
};

/// Ranks 0, 2 and 4 on one host, 1 and 3 on another.
class HostsRanks : public ::testing::Test {
 protected:
  static constexpr int kRanks = 5;

  HostsRanks() {
    auto networks = transport::make_thread_transports(kRanks);
    MeetingPlace even(3);
    MeetingPlace odd(2);
    std::vector<std::thread> threads;
    for (int rank = 0; rank < kRanks; ++rank) {
      threads.emplace_back([&, rank] {
        const auto i = static_cast<std::size_t>(rank);
        LocalBootstrap bootstrap(rank % 2 == 0 ? even : odd, rank / 2);
        Neighbourhood found = transport::meet_neighbours(bootstrap, true);
        found.hosts.host_of = {0, 1, 0, 1, 0};
        ranks_[i] = std::make_unique<Hosts>(
            std::make_unique<LoggedNetwork>(std::move(networks[i]), logs_[i]), std::move(found));
      });
    }
    for (std::thread& thread : threads) thread.join();
  }

  Transport& rank(int i) { return *ranks_[static_cast<std::size_t>(i)]; }
  Log& log(int i) { return logs_[static_cast<std::size_t>(i)]; }
  Arrival arrived(int self, int from) {
    Arrival arrival;
    EXPECT_TRUE(rank(self).take(from, 0, arrival)) << from << " to " << self;
    return arrival;
  }
  static Bytes bytes_of(const Arrival& arrival) {
    return {arrival.data, arrival.data + arrival.size};
  }

  std::array<Log, kRanks> logs_;
  std::array<std::unique_ptr<Transport>, kRanks> ranks_;
};

TEST_F(HostsRanks, KnowWhoIsWhere) {
  for (int i = 0; i < kRanks; ++i) {
    EXPECT_EQ(rank(i).rank(), i);
    EXPECT_EQ(rank(i).size(), kRanks);
    for (int peer = 0; peer < kRanks; ++peer) EXPECT_EQ(rank(i).host_of(peer), peer % 2);
  }
}

TEST_F(HostsRanks, SendEachPeerItsOwnWay) {
  std::vector<Arrival> held;
  for (int from = 0; from < kRanks; ++from) {
    std::vector<int> across;
    for (int to = 0; to < kRanks; ++to) {
      for (const std::size_t size : {10u, 3000u}) {
        const Bytes bytes = message(size, static_cast<unsigned>(7 * from + to));
        EXPECT_TRUE(rank(from).done(rank(from).send(to, 0, bytes)));
        if (from % 2 != to % 2) across.push_back(to);
        const Arrival arrival = arrived(to, from);
        EXPECT_EQ(bytes_of(arrival), bytes);
        rank(to).release(arrival);
      }
    }
    EXPECT_EQ(log(from).sent_to, across);
    EXPECT_EQ(rank(from).bytes_sent(), 5u * 3010u);
  }
}

TEST_F(HostsRanks, ExpectOnlyWhatComesOverTheNetwork) {
  for (int peer = 0; peer < kRanks; ++peer) rank(2).expect(peer, 1);
  EXPECT_EQ(log(2).expected, (std::vector<int>{1, 3}));
}

TEST_F(HostsRanks, SendOneSlotBothWays) {
  std::byte* const slot = rank(0).allocate(kLongestMessage);
  const Bytes bytes = message(5000, 3);
  std::ranges::copy(bytes, slot);
  const Request inside = rank(0).send(2, 0, {slot, bytes.size()});
  const Request across = rank(0).send(1, 0, {slot, bytes.size()});
  log(0).done = false;
  EXPECT_FALSE(rank(0).done(inside));
  EXPECT_FALSE(rank(0).done(across));
  const Arrival local = arrived(2, 0);
  EXPECT_EQ(bytes_of(local), bytes);
  rank(2).release(local);
  EXPECT_TRUE(rank(0).done(inside));
  EXPECT_FALSE(rank(0).done(across));
  log(0).done = true;
  EXPECT_TRUE(rank(0).done(across));
  EXPECT_EQ(bytes_of(arrived(1, 0)), bytes);
}

TEST_F(HostsRanks, SendOnFromOneWayToTheOther) {
  const Bytes bytes = message(2000, 11);
  rank(0).send(2, 0, bytes);
  const Arrival inside = arrived(2, 0);
  rank(2).send(3, 0, {inside.data, inside.size});
  rank(2).release(inside);
  const Arrival across = arrived(3, 2);
  EXPECT_EQ(bytes_of(across), bytes);
  EXPECT_TRUE(rank(3).done(rank(3).send(1, 0, {across.data, across.size})));
  rank(3).release(across);
  EXPECT_EQ(bytes_of(arrived(1, 3)), bytes);
}

TEST_F(HostsRanks, SeldomLookAtANetworkThatNobodyWaitsFor) {
  const auto looks = [&](int rounds, auto&& before) {
    const int first = log(0).progressed;
    for (int i = 0; i < rounds; ++i) {
      before();
      rank(0).progress();
    }
    return log(0).progressed - first;
  };
  Arrival arrival;
  looks(1, [] {});
  EXPECT_EQ(looks(640, [&] { rank(0).take(2, 0, arrival); }), 10);
  EXPECT_EQ(looks(640, [&] { rank(0).take(1, 0, arrival); }), 640);
  log(0).done = false;
  EXPECT_EQ(looks(640, [&] { rank(0).done(0); }), 640);
  EXPECT_EQ(looks(640, [&] { rank(0).send(3, 0, {}); }), 640);
}

TEST_F(HostsRanks, PassTheRestToTheNetwork) {
  EXPECT_TRUE(rank(0).allreduce(nullptr, nullptr, 0, DataType::fp32, ReduceOp::sum));
  EXPECT_EQ(log(0).sums, 1);
  EXPECT_TRUE(rank(0).has_allreduce(DataType::fp32, ReduceOp::sum));
  EXPECT_FALSE(rank(0).has_allreduce(DataType::int8, ReduceOp::sum));
  EXPECT_TRUE(rank(0).sends_wait_for_peers()) << "a slot that is read is not the sender's";
  rank(0).keep_address();
  EXPECT_EQ(log(0).kept, 1);
  rank(0).abandon();
  EXPECT_EQ(log(0).abandoned, 1);
}

std::vector<std::unique_ptr<Transport>> wrap(int ranks, bool wanted) {
  auto networks = transport::make_thread_transports(ranks);
  MeetingPlace place(ranks);
  std::vector<std::unique_ptr<Transport>> wrapped(networks.size());
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      const auto i = static_cast<std::size_t>(rank);
      LocalBootstrap bootstrap(place, rank);
      wrapped[i] = transport::with_shared_memory(std::move(networks[i]), bootstrap, wanted);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return wrapped;
}

TEST(WithSharedMemory, WrapsANetworkWhereRanksShareAHost) {
  for (const auto& transport : wrap(3, true)) {
    EXPECT_NE(dynamic_cast<Hosts*>(transport.get()), nullptr);
    EXPECT_EQ(transport->host_of(2), 0);
  }
}

TEST(WithSharedMemory, LeavesItAsItIsWhereNoneDo) {
  for (const auto& transport : wrap(3, false)) {
    EXPECT_EQ(dynamic_cast<Hosts*>(transport.get()), nullptr);
  }
  EXPECT_EQ(dynamic_cast<Hosts*>(wrap(1, true)[0].get()), nullptr);
}

}  // namespace
}  // namespace cpdcomm::testing
