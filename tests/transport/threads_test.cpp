#include "transport/threads.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "cpdcomm/error.hpp"

namespace cpdcomm::testing {
namespace {

using transport::Arrival;
using transport::Request;
using transport::Transport;

std::vector<std::byte> message(std::size_t size, int first) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i)
    bytes[i] = static_cast<std::byte>(first + static_cast<int>(i));
  return bytes;
}

class Threads : public ::testing::Test {
 protected:
  void send(int from, int to, int channel, const std::vector<std::byte>& bytes) {
    Transport& transport = rank(from);
    const Request request = transport.send(to, channel, bytes);
    EXPECT_TRUE(transport.done(request));
  }
  /// A message that is there already.
  std::vector<std::byte> take(int self, int from, int channel) {
    Arrival arrival;
    EXPECT_TRUE(rank(self).take(from, channel, arrival));
    std::vector<std::byte> bytes(arrival.data, arrival.data + arrival.size);
    rank(self).release(arrival);
    return bytes;
  }
  Transport& rank(int i) { return *ranks_[static_cast<std::size_t>(i)]; }

  std::vector<std::unique_ptr<Transport>> ranks_ = transport::make_thread_transports(3);
};

TEST_F(Threads, KnowTheirPlace) {
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(rank(i).rank(), i);
    EXPECT_EQ(rank(i).size(), 3);
  }
  EXPECT_THROW(transport::make_thread_transports(0), Error);
  EXPECT_THROW(transport::make_thread_transports(-1), Error);
}

TEST_F(Threads, DeliverInOrder) {
  Arrival arrival;
  EXPECT_FALSE(rank(1).take(0, 0, arrival));
  for (int i = 0; i < 4; ++i) send(0, 1, 0, message(4, 10 * i));
  for (int i = 0; i < 4; ++i) EXPECT_EQ(take(1, 0, 0), message(4, 10 * i));
  EXPECT_FALSE(rank(1).take(0, 0, arrival));
}

TEST_F(Threads, KeepWhatIsTakenUntilItIsReleased) {
  send(0, 1, 0, message(4, 1));
  Arrival first;
  ASSERT_TRUE(rank(1).take(0, 0, first));
  for (int i = 0; i < 10; ++i) {
    send(0, 1, 0, message(4, 50));
    take(1, 0, 0);
  }
  EXPECT_EQ(std::vector<std::byte>(first.data, first.data + first.size), message(4, 1));
  rank(1).release(first);
}

TEST_F(Threads, KeepPeersAndChannelsApart) {
  send(0, 1, 0, message(3, 1));
  send(0, 1, 1, message(3, 2));
  send(2, 1, 0, message(3, 3));
  send(0, 2, 0, message(3, 4));
  EXPECT_EQ(take(1, 2, 0), message(3, 3));
  EXPECT_EQ(take(1, 0, 1), message(3, 2));
  EXPECT_EQ(take(1, 0, 0), message(3, 1));
  EXPECT_EQ(take(2, 0, 0), message(3, 4));
}

TEST_F(Threads, CopyWhatIsSent) {
  std::vector<std::byte> bytes = message(8, 1);
  send(0, 1, 0, bytes);
  std::fill(bytes.begin(), bytes.end(), std::byte{0});
  EXPECT_EQ(take(1, 0, 0), message(8, 1));
}

TEST_F(Threads, CarryEmptyMessages) {
  send(0, 1, 0, {});
  send(0, 1, 0, message(1, 7));
  EXPECT_EQ(take(1, 0, 0), message(0, 0));
  EXPECT_EQ(take(1, 0, 0), message(1, 7));
}

TEST_F(Threads, CountTheBytesThatTheySend) {
  send(0, 1, 0, message(100, 0));
  send(0, 2, 3, message(23, 0));
  send(0, 2, 3, {});
  EXPECT_EQ(rank(0).bytes_sent(), 123u);
  EXPECT_EQ(rank(1).bytes_sent(), 0u);
}

TEST_F(Threads, OutliveEachOther) {
  ranks_[1].reset();
  send(0, 1, 0, message(4, 1));
}

TEST_F(Threads, ShareHostsAsTheyAreTold) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(rank(0).host_of(i), i);
  const auto pairs = transport::make_thread_transports(4, 2);
  EXPECT_EQ(pairs[3]->host_of(1), 0);
  EXPECT_EQ(pairs[0]->host_of(2), 1);
}

TEST(ThreadsAtOnce, KeepTheOrder) {
  constexpr int kMessages = 5000;
  auto ranks = transport::make_thread_transports(2);
  const auto play = [&](int self) {
    Transport& transport = *ranks[static_cast<std::size_t>(self)];
    for (int i = 0; i < kMessages; ++i) {
      std::vector<std::byte> bytes(sizeof i);
      std::memcpy(bytes.data(), &i, sizeof i);
      EXPECT_TRUE(transport.done(transport.send(1 - self, 0, bytes)));
      Arrival arrival;
      while (!transport.take(1 - self, 0, arrival)) std::this_thread::yield();
      EXPECT_EQ(std::vector<std::byte>(arrival.data, arrival.data + arrival.size), bytes);
      transport.release(arrival);
    }
  };
  std::thread other(play, 1);
  play(0);
  other.join();
}

}  // namespace
}  // namespace cpdcomm::testing
