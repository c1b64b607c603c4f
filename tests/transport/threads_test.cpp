#include "transport/threads.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <thread>

#include "cpdcomm/error.hpp"

namespace cpdcomm::testing {
namespace {

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
  std::vector<std::byte> take(int self, int from, int channel, std::size_t room) {
    std::vector<std::byte> bytes(room);
    const Request request = rank(self).receive(from, channel, bytes);
    EXPECT_TRUE(rank(self).done(request));
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

TEST_F(Threads, DeliverInOrderWhetherSentFirstOrAwaitedFirst) {
  std::vector<std::byte> first(4);
  std::vector<std::byte> second(4);
  const Request one = rank(1).receive(0, 0, first);
  const Request two = rank(1).receive(0, 0, second);
  EXPECT_FALSE(rank(1).done(one));
  for (int i = 0; i < 4; ++i) send(0, 1, 0, message(4, 10 * i));
  EXPECT_TRUE(rank(1).done(two));
  EXPECT_TRUE(rank(1).done(one));
  EXPECT_EQ(first, message(4, 0));
  EXPECT_EQ(second, message(4, 10));
  EXPECT_EQ(take(1, 0, 0, 4), message(4, 20));
  EXPECT_EQ(take(1, 0, 0, 4), message(4, 30));
}

TEST_F(Threads, KeepPeersAndChannelsApart) {
  send(0, 1, 0, message(3, 1));
  send(0, 1, 1, message(3, 2));
  send(2, 1, 0, message(3, 3));
  send(0, 2, 0, message(3, 4));
  EXPECT_EQ(take(1, 2, 0, 3), message(3, 3));
  EXPECT_EQ(take(1, 0, 1, 3), message(3, 2));
  EXPECT_EQ(take(1, 0, 0, 3), message(3, 1));
  EXPECT_EQ(take(2, 0, 0, 3), message(3, 4));
}

TEST_F(Threads, CopyWhatIsSent) {
  std::vector<std::byte> bytes = message(8, 1);
  send(0, 1, 0, bytes);
  std::fill(bytes.begin(), bytes.end(), std::byte{0});
  EXPECT_EQ(take(1, 0, 0, 8), message(8, 1));
}

TEST_F(Threads, CutAMessageToItsRoom) {
  send(0, 1, 0, message(100, 0));
  std::vector<std::byte> room(10, std::byte{0xff});
  const Request request = rank(1).receive(0, 0, std::span(room).first(6));
  EXPECT_TRUE(rank(1).done(request));
  std::vector<std::byte> wanted = message(6, 0);
  wanted.resize(10, std::byte{0xff});
  EXPECT_EQ(room, wanted);

  const Request waiting = rank(1).receive(0, 0, std::span(room).first(2));
  send(0, 1, 0, message(5, 50));
  EXPECT_TRUE(rank(1).done(waiting));
  std::copy_n(message(2, 50).begin(), 2, wanted.begin());
  EXPECT_EQ(room, wanted);
}

TEST_F(Threads, CarryEmptyMessages) {
  send(0, 1, 0, {});
  send(0, 1, 0, message(1, 7));
  EXPECT_EQ(take(1, 0, 0, 0), message(0, 0));
  EXPECT_EQ(take(1, 0, 0, 1), message(1, 7));
}

TEST_F(Threads, ForgetWhatIsCancelled) {
  auto room = std::make_unique<std::vector<std::byte>>(4);
  std::vector<std::byte> later(4);
  const Request cancelled = rank(1).receive(0, 0, *room);
  const Request kept = rank(1).receive(0, 0, later);
  EXPECT_TRUE(rank(1).cancel(cancelled));
  room.reset();  // a sanitizer would see a late write
  send(0, 1, 0, message(4, 1));
  EXPECT_TRUE(rank(1).done(kept));
  EXPECT_EQ(later, message(4, 1));
}

TEST_F(Threads, CountTheBytesThatTheySend) {
  send(0, 1, 0, message(100, 0));
  send(0, 2, 3, message(23, 0));
  send(0, 2, 3, {});
  EXPECT_EQ(rank(0).bytes_sent(), 123u);
  EXPECT_EQ(rank(1).bytes_sent(), 0u);
}

TEST_F(Threads, OutliveEachOther) {
  std::vector<std::byte> room(4);
  const Request request = rank(1).receive(0, 0, room);
  rank(1).cancel(request);
  ranks_[1].reset();
  send(0, 1, 0, message(4, 1));
}

TEST(ThreadsAtOnce, KeepTheOrder) {
  constexpr int kMessages = 5000;
  auto ranks = transport::make_thread_transports(2);
  const auto play = [&](int self) {
    Transport& transport = *ranks[static_cast<std::size_t>(self)];
    for (int i = 0; i < kMessages; ++i) {
      std::vector<std::byte> room(sizeof i);
      const Request request = transport.receive(1 - self, 0, room);
      std::vector<std::byte> bytes(sizeof i);
      std::memcpy(bytes.data(), &i, sizeof i);
      EXPECT_TRUE(transport.done(transport.send(1 - self, 0, bytes)));
      while (!transport.done(request)) std::this_thread::yield();
      EXPECT_EQ(room, bytes);
    }
  };
  std::thread other(play, 1);
  play(0);
  other.join();
}

}  // namespace
}  // namespace cpdcomm::testing
