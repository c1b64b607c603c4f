#include "transport/transport.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>
#include <thread>

#include "cpdcomm/error.hpp"
#include "transport/module.hpp"
#include "ucx/ranks.hpp"

extern "C" cpdcomm::transport::ConnectRanks cpdcomm_transport_connect;

namespace cpdcomm::testing {
namespace {

using namespace std::chrono_literals;
using transport::Arrival;
using transport::kLongestMessage;
using transport::Request;
using transport::Transport;
using Bytes = std::vector<std::byte>;
using Clock = std::chrono::steady_clock;

constexpr auto kPatience = 20s;

Bytes message(std::size_t size, int first) {
  Bytes bytes(size);
  for (std::size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<std::byte>(first + static_cast<int>(i * 7));
  }
  return bytes;
}

Bytes bytes_of(const Arrival& arrival) { return {arrival.data, arrival.data + arrival.size}; }

std::vector<std::unique_ptr<Transport>> make_ranks(int ranks) {
  return connect_all(ranks, [](Bootstrap& bootstrap) {
    return std::unique_ptr<Transport>(
        cpdcomm_transport_connect(bootstrap, {.shared_memory = false}));
  });
}

/// Each waits a while for its peers, so they end at the same time.
void end_all(std::vector<std::unique_ptr<Transport>>& ranks) {
  on_all(ranks.size(), [&](std::size_t rank) { ranks[rank].reset(); });
}

class Ucx : public ::testing::Test {
 protected:
  void TearDown() override { end_all(ranks_); }

  void connect(int ranks) { ranks_ = make_ranks(ranks); }
  Transport& rank(int i) { return *ranks_[static_cast<std::size_t>(i)]; }
  void end(int i) { ranks_[static_cast<std::size_t>(i)].reset(); }
  void progress() {
    for (auto& rank : ranks_) {
      if (rank) rank->progress();
    }
  }
  /// Whether it comes true while all ranks make progress.
  template <typename Condition>
  bool comes(Condition&& condition) {
    const auto deadline = Clock::now() + kPatience;
    while (!condition()) {
      if (Clock::now() > deadline) return false;
      progress();
    }
    return true;
  }
  void send(int from, int to, int channel, const Bytes& bytes) {
    const Request request = rank(from).send(to, channel, bytes);
    ASSERT_TRUE(comes([&] { return rank(from).done(request); }));
  }
  Arrival arrival(int self, int from, int channel) {
    Arrival arrival;
    EXPECT_TRUE(comes([&] { return rank(self).take(from, channel, arrival); }))
        << "nothing for rank " << self << " from " << from;
    return arrival;
  }
  Bytes take(int self, int from, int channel) {
    const Arrival got = arrival(self, from, channel);
    const Bytes bytes = bytes_of(got);
    rank(self).release(got);
    return bytes;
  }
  /// The same while only the receiver makes progress.
  Bytes take_alone(int self, int from, int channel) {
    Arrival got;
    const auto deadline = Clock::now() + kPatience;
    while (!rank(self).take(from, channel, got) && Clock::now() < deadline) rank(self).progress();
    return bytes_of(got);
  }
  /// What a rank learns of a peer's end.
  std::string end_of(int self, int peer) {
    const auto deadline = Clock::now() + kPatience;
    while (Clock::now() < deadline) {
      rank(self).progress();
      if (const auto end = rank(self).end_of(peer)) return *end;
    }
    ADD_FAILURE() << "rank " << self << " knows of no end of rank " << peer;
    return {};
  }

  std::vector<std::unique_ptr<Transport>> ranks_;
};

TEST_F(Ucx, KnowsItsPlace) {
  connect(3);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(rank(i).rank(), i);
    EXPECT_EQ(rank(i).size(), 3);
  }
}

TEST_F(Ucx, NeedsNoPeers) {
  connect(1);
  rank(0).progress();
  EXPECT_EQ(rank(0).size(), 1);
}

TEST_F(Ucx, DeliversInOrderWhetherSentFirstOrAwaitedFirst) {
  connect(2);
  rank(1).expect(0, 0);
  const auto size_of_message = [](int i) { return i % 3 == 0 ? kLongestMessage : 100; };
  for (int i = 0; i < 20; ++i) send(0, 1, i % 2, message(size_of_message(i), i));
  for (const int channel : {0, 1}) {
    for (int i = channel; i < 20; i += 2) {
      EXPECT_EQ(take(1, 0, channel), message(size_of_message(i), i)) << i;
    }
  }
}

TEST_F(Ucx, KeepsPeersAndChannelsApart) {
  connect(3);
  send(0, 1, 0, message(3, 1));
  send(0, 1, 15, message(3, 2));
  send(2, 1, 0, message(3, 3));
  send(0, 2, 0, message(3, 4));
  EXPECT_EQ(take(1, 2, 0), message(3, 3));
  EXPECT_EQ(take(1, 0, 15), message(3, 2));
  EXPECT_EQ(take(1, 0, 0), message(3, 1));
  EXPECT_EQ(take(2, 0, 0), message(3, 4));
  Arrival none;
  EXPECT_FALSE(rank(1).take(0, 0, none));
}

TEST_F(Ucx, KeepsArrivalsUntilTheyAreReleasedInAnyOrder) {
  connect(2);
  constexpr int kHeld = 9;
  std::vector<Arrival> held;
  for (int i = 0; i < kHeld; ++i) send(0, 1, 0, message(5000, i));
  for (int i = 0; i < kHeld; ++i) held.push_back(arrival(1, 0, 0));
  for (int i = 0; i < kHeld; ++i) {
    EXPECT_EQ(bytes_of(held[static_cast<std::size_t>(i)]), message(5000, i));
  }
  std::reverse(held.begin(), held.end());
  for (const Arrival& one : held) rank(1).release(one);
  send(0, 1, 0, message(5000, 99));
  EXPECT_EQ(take(1, 0, 0), message(5000, 99));
}

TEST_F(Ucx, SendsOnWhatHasArrived) {
  connect(3);
  send(0, 1, 0, message(kLongestMessage, 5));
  const Arrival passing = arrival(1, 0, 0);
  const Request request = rank(1).send(2, 0, {passing.data, passing.size});
  EXPECT_EQ(take(2, 1, 0), message(kLongestMessage, 5));
  EXPECT_TRUE(comes([&] { return rank(1).done(request); }));
  rank(1).release(passing);
}

TEST_F(Ucx, CarriesEmptyMessagesAndCountsBytes) {
  connect(2);
  send(0, 1, 0, {});
  send(0, 1, 0, message(123, 7));
  EXPECT_EQ(take(1, 0, 0).size(), 0u);
  EXPECT_EQ(take(1, 0, 0), message(123, 7));
  EXPECT_EQ(rank(0).bytes_sent(), 123u);
  EXPECT_EQ(rank(1).bytes_sent(), 0u);
}

TEST_F(Ucx, DeliversWhatWasSentBeforeTheEnd) {
  connect(2);
  const Bytes bytes = message(kLongestMessage, 1);
  std::thread sender([&] {
    rank(0).send(1, 0, bytes);
    end(0);
  });
  EXPECT_EQ(take_alone(1, 0, 0), bytes);
  sender.join();
}

TEST_F(Ucx, DeliversToAPeerThatIsBusy) {
  connect(2);
  const Bytes bytes = message(1000, 1);
  rank(0).send(1, 0, bytes);
  end(0);
  EXPECT_EQ(take_alone(1, 0, 0), bytes);
}

TEST_F(Ucx, AnEndThatWasSaidIsNoFailure) {
  connect(3);
  end(0);
  const auto until = Clock::now() + 300ms;
  while (Clock::now() < until) ASSERT_NO_THROW(progress());
  Arrival none;
  EXPECT_FALSE(rank(1).take(0, 0, none));
  EXPECT_EQ(end_of(1, 0), "rank 0 has left: its communicator is gone");
  EXPECT_EQ(rank(1).end_of(2), std::nullopt);
  const Bytes bytes = message(10, 0);
  EXPECT_TRUE(rank(1).done(rank(1).send(0, 0, bytes)));  // goes nowhere
  send(1, 2, 0, message(10, 1));
  EXPECT_EQ(take(2, 1, 0), message(10, 1));
}

TEST_F(Ucx, TellsWhichRankHasFailed) {
  connect(3);
  rank(2).abandon();
  end(2);
  for (const int survivor : {0, 1}) {
    const std::string end = end_of(survivor, 2);
    EXPECT_TRUE(end.starts_with("rank 2 is gone (UCX: ")) << end;
    EXPECT_EQ(rank(survivor).end_of(1 - survivor), std::nullopt);
    Arrival none;
    EXPECT_FALSE(rank(survivor).take(2, 0, none));
    EXPECT_FALSE(rank(survivor).take(1 - survivor, 0, none));
  }
  // Nobody else is accused: those two go on.
  send(0, 1, 0, message(100, 3));
  EXPECT_EQ(take(1, 0, 0), message(100, 3));
}

TEST_F(Ucx, StillHasWhatAFailedRankSaidBefore) {
  connect(2);
  send(1, 0, 0, message(10, 1));
  rank(1).abandon();
  end(1);
  end_of(0, 1);
  Arrival last;
  ASSERT_TRUE(rank(0).take(1, 0, last));
  EXPECT_EQ(bytes_of(last), message(10, 1));
  rank(0).release(last);
  EXPECT_FALSE(rank(0).take(1, 0, last));
}

TEST_F(Ucx, CanTellTheOthersOfAFailure) {
  connect(3);
  rank(2).abandon();
  end(2);
  end_of(0, 2);
  const Bytes bytes = message(10, 2);
  EXPECT_TRUE(rank(0).done(rank(0).send(2, 0, bytes)));  // goes nowhere
  send(0, 1, 0, bytes);
  EXPECT_EQ(take(1, 0, 0), bytes);
}

TEST_F(Ucx, EndsSoonThoughAPeerTakesNothing) {
  connect(2);
  const Bytes bytes(kLongestMessage);
  for (int i = 0; i < 500; ++i) rank(0).send(1, 0, bytes);  // more than sockets hold
  const auto begin = Clock::now();
  end(0);
  EXPECT_LT(Clock::now() - begin, 4s);

  connect(2);
  for (int i = 0; i < 500; ++i) rank(0).send(1, 0, bytes);
  rank(0).abandon();
  const auto abandoned = Clock::now();
  end(0);
  EXPECT_LT(Clock::now() - abandoned, 1s);
}

/// Sends numbers to its one peer and takes the peer's, as fast as it can.
void exchange_numbers(Transport& own, int count) {
  std::vector<Request> requests;
  std::vector<int> numbers(static_cast<std::size_t>(count));
  std::size_t sent = 0;
  const auto let_go = [&] {
    own.progress();
    std::erase_if(requests, [&](Request request) { return own.done(request); });
  };
  for (int received = 0; received < count;) {
    let_go();
    if (sent < numbers.size() && requests.size() < 16) {
      numbers[sent] = static_cast<int>(sent);
      requests.push_back(
          own.send(1 - own.rank(), 0, std::as_bytes(std::span(numbers)).subspan(4 * sent, 4)));
      ++sent;
    }
    Arrival arrival;
    if (!own.take(1 - own.rank(), 0, arrival)) continue;
    int number = -1;
    std::memcpy(&number, arrival.data, sizeof number);
    own.release(arrival);
    ASSERT_EQ(number, received++);
  }
  while (!requests.empty()) let_go();
}

TEST_F(Ucx, KeepsTheOrderUnderLoad) {
  connect(2);
  std::thread other([&] { exchange_numbers(rank(1), 3000); });
  exchange_numbers(rank(0), 3000);
  other.join();
}

TEST_F(Ucx, GroupsDoNotHearEachOther) {
  auto first = make_ranks(2);
  connect(2);
  const Bytes bytes = message(10, 1);
  const Request request = first[0]->send(1, 0, bytes);
  send(0, 1, 0, message(10, 2));
  EXPECT_EQ(take(1, 0, 0), message(10, 2));
  Arrival got;
  EXPECT_TRUE(comes([&] {
    for (const auto& rank : first) rank->progress();
    return first[1]->take(0, 0, got);
  }));
  EXPECT_EQ(bytes_of(got), bytes);
  EXPECT_TRUE(first[0]->done(request));
  end_all(first);
}

}  // namespace
}  // namespace cpdcomm::testing
