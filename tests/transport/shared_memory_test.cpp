#include "transport/shared_memory.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>
#include <cstring>
#include <deque>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <thread>

#include "cpdcomm/error.hpp"
#include "support/forked_ranks.hpp"
#include "support/random.hpp"
#include "transport/neighbours.hpp"

namespace cpdcomm::testing {
namespace {

using transport::Arrival;
using transport::kLongestMessage;
using transport::Neighbourhood;
using transport::Request;
using transport::Ring;
using transport::RingEntry;
using transport::SharedMemory;
using transport::Transport;

using Bytes = std::vector<std::byte>;

Bytes message(std::size_t size, unsigned first) {
  Bytes bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(first++);
  return bytes;
}

/// What of these processes has a name in /dev/shm; other programs may have names there, too.
std::set<std::string> names_of(const std::vector<pid_t>& processes) {
  std::set<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) {
    const std::string name = entry.path().filename();
    for (const pid_t process : processes) {
      if (name.starts_with("cpdcomm-" + std::to_string(process) + "-")) found.insert(name);
    }
  }
  return found;
}

const std::set<std::string> kNone;

/// Runs work(rank) on as many threads.
void on_threads(int ranks, const std::function<void(int)>& work) {
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) threads.emplace_back(work, rank);
  for (std::thread& thread : threads) thread.join();
}

std::vector<Neighbourhood> meet(int ranks, std::size_t channels = 16) {
  MeetingPlace place(ranks);
  std::vector<Neighbourhood> all(static_cast<std::size_t>(ranks));
  on_threads(ranks, [&](int rank) {
    LocalBootstrap bootstrap(place, rank);
    all[static_cast<std::size_t>(rank)] = transport::meet_neighbours(bootstrap, true, channels);
  });
  return all;
}

class SharedMemoryRanks : public ::testing::Test {
 protected:
  static constexpr int kRanks = 4;

  SharedMemory& rank(int i) { return *ranks_[static_cast<std::size_t>(i)].memory; }
  /// A slot with these bytes.
  std::span<const std::byte> slot(int owner, const Bytes& bytes) {
    std::byte* const memory = rank(owner).allocate(kLongestMessage);
    EXPECT_NE(memory, nullptr);
    std::ranges::copy(bytes, memory);
    return {memory, bytes.size()};
  }
  /// A message that is there already.
  Arrival arrived(int self, int from, int channel = 0) {
    Arrival arrival;
    EXPECT_TRUE(rank(self).take(from, channel, arrival));
    return arrival;
  }
  Bytes taken(int self, int from, int channel = 0) {
    const Arrival arrival = arrived(self, from, channel);
    const Bytes bytes(arrival.data, arrival.data + arrival.size);
    rank(self).release(arrival);
    return bytes;
  }
  bool nothing(int self, int from, int channel = 0) {
    Arrival arrival;
    return !rank(self).take(from, channel, arrival);
  }

  std::vector<Neighbourhood> ranks_ = meet(kRanks);
};

TEST_F(SharedMemoryRanks, KnowTheirPlace) {
  for (int i = 0; i < kRanks; ++i) {
    EXPECT_EQ(rank(i).rank(), i);
    EXPECT_EQ(rank(i).size(), kRanks);
    EXPECT_EQ(ranks_[static_cast<std::size_t>(i)].hosts.host_of, std::vector<int>(kRanks, 0));
    EXPECT_EQ(ranks_[static_cast<std::size_t>(i)].reason, "");
  }
}

TEST_F(SharedMemoryRanks, LeaveNoNameWhileTheyLive) { EXPECT_EQ(names_of({getpid()}), kNone); }

TEST_F(SharedMemoryRanks, ReadASlotInItsPlaceAndGiveItBack) {
  const auto bytes = slot(0, message(1000, 5));
  const Request request = rank(0).send(1, 0, bytes);
  EXPECT_FALSE(rank(0).done(request));
  const Arrival arrival = arrived(1, 0);
  EXPECT_EQ(arrival.size, 1000u);
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), arrival.data));
  // The same memory at another address: what the sender writes is seen, so nothing was copied.
  const_cast<std::byte&>(bytes[7]) = std::byte{99};
  EXPECT_EQ(arrival.data[7], std::byte{99});
  EXPECT_FALSE(rank(0).done(request));
  rank(1).release(arrival);
  EXPECT_TRUE(rank(0).done(request));
}

TEST_F(SharedMemoryRanks, SendASlotToAllAndWaitForEach) {
  const auto bytes = slot(2, message(kLongestMessage, 1));
  std::vector<Request> requests;
  for (const int peer : {0, 1, 3}) requests.push_back(rank(2).send(peer, 3, bytes));
  for (const int peer : {0, 1, 3}) {
    for (const Request request : requests) EXPECT_FALSE(rank(2).done(request));
    EXPECT_EQ(taken(peer, 2, 3), message(kLongestMessage, 1));
  }
  for (const Request request : requests) EXPECT_TRUE(rank(2).done(request));
}

TEST_F(SharedMemoryRanks, CopyOtherMemory) {
  Bytes bytes = message(300, 9);
  EXPECT_TRUE(rank(0).done(rank(0).send(1, 0, bytes)));
  std::ranges::fill(bytes, std::byte{0});
  EXPECT_EQ(taken(1, 0), message(300, 9));
}

TEST_F(SharedMemoryRanks, CarryEmptyMessages) {
  EXPECT_TRUE(rank(0).done(rank(0).send(1, 0, {})));
  rank(0).send(1, 0, message(1, 7));
  EXPECT_EQ(taken(1, 0), Bytes{});
  EXPECT_EQ(taken(1, 0), message(1, 7));
}

TEST_F(SharedMemoryRanks, KeepPeersAndChannelsApart) {
  for (int from = 0; from < kRanks; ++from) {
    for (int channel = 0; channel < 16; ++channel) {
      for (int to = 0; to < kRanks; ++to) {
        const auto first = static_cast<unsigned>(from * 64 + channel * 4 + to);
        rank(from).send(to, channel, message(3, first));
        EXPECT_EQ(taken(to, from, channel), message(3, first));
      }
    }
  }
  for (int from = 0; from < kRanks; ++from) {
    for (int channel = 0; channel < 16; ++channel) EXPECT_TRUE(nothing(0, from, channel));
  }
}

TEST_F(SharedMemoryRanks, NameAChannelThatIsNotThere) {
  Arrival arrival;
  EXPECT_THROW(rank(0).send(1, 16, {}), Error);
  EXPECT_THROW(rank(0).take(1, -1, arrival), Error);
  EXPECT_THROW(rank(0).send(1, 0, Bytes(kLongestMessage + 1)), Error);
}

TEST_F(SharedMemoryRanks, KeepTheOrderWhenTheRingIsFull) {
  const auto bytes = slot(0, message(8, 0));
  std::vector<Request> requests;
  for (std::size_t i = 0; i < 200; ++i) requests.push_back(rank(0).send(1, 0, bytes.first(i % 9)));
  EXPECT_FALSE(rank(0).done(requests[198]));  // of an empty message that still waits for its place
  std::size_t next = 0;
  Arrival arrival;
  while (next < 200) {
    ASSERT_TRUE(rank(1).take(0, 0, arrival)) << next;
    EXPECT_EQ(arrival.size, next++ % 9);
    rank(1).release(arrival);
    if (next % 10 == 0) rank(0).progress();
  }
  EXPECT_TRUE(nothing(1, 0));
  for (const Request request : requests) EXPECT_TRUE(rank(0).done(request));
}

TEST_F(SharedMemoryRanks, LetNoSendOvertakeOneThatWaits) {
  std::vector<Bytes> sent;
  for (unsigned i = 0; i < Ring::kEntries + 2; ++i) sent.push_back(message(1, i));
  for (std::size_t i = 0; i <= Ring::kEntries; ++i) rank(0).send(1, 0, sent[i]);
  EXPECT_EQ(taken(1, 0), sent[0]);  // a place is free, and one send waits for it
  rank(0).send(1, 0, sent.back());
  rank(0).progress();
  for (std::size_t i = 1; i <= Ring::kEntries; ++i) EXPECT_EQ(taken(1, 0), sent[i]);
  rank(0).progress();
  EXPECT_EQ(taken(1, 0), sent.back());
}

TEST_F(SharedMemoryRanks, LetSendsWaitWhenNoSlotIsFree) {
  const std::size_t copies = SharedMemory::copy_slots(kRanks);
  std::vector<Bytes> sent;
  std::vector<Request> requests;
  for (unsigned i = 0; i < copies + 6; ++i) sent.push_back(message(200 + i, i));
  for (std::size_t i = 0; i < sent.size(); ++i) {
    requests.push_back(rank(0).send(i % 2 == 0 ? 1 : 2, 0, sent[i]));
  }
  for (std::size_t i = 0; i < sent.size(); ++i) {
    EXPECT_EQ(rank(0).done(requests[i]), i < copies) << i;
  }
  for (std::size_t i = 0; i < sent.size(); ++i) {
    EXPECT_EQ(taken(i % 2 == 0 ? 1 : 2, 0), sent[i]) << i;
    rank(0).progress();
  }
  for (std::size_t i = copies; i < sent.size(); ++i) EXPECT_TRUE(rank(0).done(requests[i])) << i;
}

TEST_F(SharedMemoryRanks, GiveEachSlotOnce) {
  std::set<std::byte*> slots;
  for (std::size_t i = 0; i < SharedMemory::given_slots(kRanks); ++i) {
    std::byte* const memory = rank(0).allocate(kLongestMessage);
    ASSERT_NE(memory, nullptr);
    std::fill_n(memory, kLongestMessage, std::byte{0xab});
    slots.insert(memory);
  }
  EXPECT_EQ(slots.size(), SharedMemory::given_slots(kRanks));
  EXPECT_EQ(rank(0).allocate(1), nullptr);
  EXPECT_EQ(rank(1).allocate(kLongestMessage + 1), nullptr);
  // Those for copies are others.
  rank(0).send(1, 0, message(kLongestMessage, 3));
  for (const std::byte* memory : slots) EXPECT_EQ(memory[kLongestMessage - 1], std::byte{0xab});
  EXPECT_EQ(taken(1, 0), message(kLongestMessage, 3));
}

TEST_F(SharedMemoryRanks, SendOnWhatTheyTook) {
  const auto bytes = slot(0, message(500, 50));
  const Request first = rank(0).send(1, 0, bytes);
  const Arrival at_one = arrived(1, 0);
  const Request second = rank(1).send(2, 0, {at_one.data, at_one.size});
  EXPECT_TRUE(rank(1).done(second));
  rank(1).release(at_one);
  EXPECT_FALSE(rank(0).done(first)) << "a rank that it was sent on to still reads it";
  const Arrival at_two = arrived(2, 1);
  const Request third = rank(2).send(3, 5, {at_two.data + 100, 150});
  rank(2).release(at_two);
  EXPECT_TRUE(rank(2).done(third));
  EXPECT_FALSE(rank(0).done(first));
  EXPECT_EQ(taken(3, 2, 5), message(150, 150));
  EXPECT_TRUE(rank(0).done(first));
}

TEST_F(SharedMemoryRanks, SendOnThroughAFullRing) {
  for (std::uint32_t i = 0; i < Ring::kEntries; ++i) rank(1).send(2, 0, {});
  const Request first = rank(0).send(1, 0, slot(0, message(900, 1)));
  const Arrival arrival = arrived(1, 0);
  const Request second = rank(1).send(2, 0, {arrival.data, arrival.size});
  EXPECT_FALSE(rank(1).done(second));
  for (std::uint32_t i = 0; i < Ring::kEntries; ++i) EXPECT_EQ(taken(2, 1), Bytes{});
  rank(1).progress();
  EXPECT_TRUE(rank(1).done(second));
  rank(1).release(arrival);
  EXPECT_FALSE(rank(0).done(first));
  EXPECT_EQ(taken(2, 1), message(900, 1));
  EXPECT_TRUE(rank(0).done(first));
}

TEST_F(SharedMemoryRanks, KeepShortMessagesUntilTheyAreReleased) {
  const auto bytes = slot(0, message(RingEntry::kShort, 0));
  std::vector<Arrival> held;
  for (unsigned i = 0; i < 4 * Ring::kEntries; ++i) {
    const_cast<std::byte&>(bytes[0]) = static_cast<std::byte>(i);
    EXPECT_TRUE(rank(0).done(rank(0).send(1, 0, bytes))) << "nobody need take it";
    held.push_back(arrived(1, 0));
  }
  for (unsigned i = 0; i < held.size(); ++i) {
    EXPECT_EQ(held[i].size, RingEntry::kShort);
    EXPECT_EQ(held[i].data[0], static_cast<std::byte>(i));
    EXPECT_EQ(held[i].data[RingEntry::kShort - 1], std::byte{RingEntry::kShort - 1});
    rank(1).release(held[i]);
  }
}

TEST_F(SharedMemoryRanks, ReadWhatASenderLeftThatHasEnded) {
  rank(0).send(1, 0, slot(0, message(kLongestMessage, 77)));
  rank(0).send(1, 0, message(5, 5));
  ranks_[0].memory.reset();
  EXPECT_EQ(taken(1, 0), message(kLongestMessage, 77));
  EXPECT_EQ(taken(1, 0), message(5, 5));
  EXPECT_TRUE(rank(1).done(rank(1).send(0, 0, message(5, 5))));
}

TEST_F(SharedMemoryRanks, TakeBackWhatOneThatHasEndedDidNotRead) {
  const auto read = slot(0, message(900, 1));
  const auto unread = slot(0, message(900, 2));
  const Request first = rank(0).send(1, 0, read);
  const Request forwarded = rank(0).send(2, 0, unread);
  const Arrival at_two = arrived(2, 0);
  rank(2).send(1, 0, {at_two.data, at_two.size});
  rank(2).release(at_two);
  EXPECT_EQ(taken(1, 0), message(900, 1));
  const Request second = rank(0).send(1, 3, unread);
  std::vector<Request> waiting;
  for (std::uint32_t i = 0; i <= Ring::kEntries; ++i) waiting.push_back(rank(0).send(1, 5, unread));
  ranks_[1].memory.reset();
  EXPECT_TRUE(rank(0).done(first));
  EXPECT_FALSE(rank(0).done(second));
  rank(0).progress();
  EXPECT_FALSE(rank(0).done(second)) << "what was sent on is its sender's to take back";
  rank(2).progress();
  EXPECT_TRUE(rank(0).done(second));
  EXPECT_TRUE(rank(0).done(forwarded));
  for (const Request request : waiting) EXPECT_TRUE(rank(0).done(request));
  EXPECT_TRUE(rank(0).done(rank(0).send(1, 0, unread))) << "goes nowhere";
}

TEST_F(SharedMemoryRanks, GiveBackWhatTheyKeptAndHaveNotRead) {
  const auto bytes = slot(0, message(900, 1));
  std::vector<Request> sent;
  for (std::uint32_t i = 0; i <= Ring::kEntries; ++i) sent.push_back(rank(0).send(1, 0, bytes));
  rank(1).progress();  // its sender starves
  ranks_[1].memory.reset();
  rank(0).progress();
  for (const Request request : sent) EXPECT_TRUE(rank(0).done(request));
}

TEST_F(SharedMemoryRanks, SayWhoHasEnded) {
  EXPECT_EQ(rank(0).end_of(1), std::nullopt);
  rank(1).send(0, 0, message(5, 5));
  ranks_[1].memory.reset();
  EXPECT_EQ(rank(0).end_of(1), "rank 1 has left: its communicator is gone");
  EXPECT_EQ(rank(0).end_of(2), std::nullopt);
  EXPECT_EQ(taken(0, 1), message(5, 5));
}

TEST_F(SharedMemoryRanks, CountTheBytesThatTheySend) {
  rank(0).send(1, 0, message(100, 0));
  rank(0).send(2, 3, message(23, 0));
  EXPECT_EQ(rank(0).bytes_sent(), 123u);
  EXPECT_EQ(rank(1).bytes_sent(), 0u);
}

/// Random traffic between all ranks at once. The first bytes of a message say which it is, and a
/// checksum stands at its end.
class Traffic {
 public:
  Traffic(SharedMemory& memory, std::uint32_t messages)
      : memory_(memory), left_(messages), random_(static_cast<unsigned>(memory.rank()) + 1) {
    for (int i = 0; i < 4; ++i) slots_.push_back({memory.allocate(kLongestMessage), {}});
  }

  /// Until all ranks have sent all and it was taken; `quiet` counts the ranks for which that holds.
  void run(std::atomic<int>& quiet) {
    bool said = false;
    while (quiet != memory_.size()) {
      if (!said && left_ == 0 && all_done()) {
        said = true;
        ++quiet;
      }
      if (left_ != 0 && queued_.size() < 50) send_one();
      take_all();
      memory_.progress();
      std::erase_if(queued_, [&](Copied& copied) { return memory_.done(copied.request); });
      for (Slot& slot : slots_) {
        std::erase_if(slot.requests, [&](Request request) { return memory_.done(request); });
      }
    }
  }
  void take_all() {
    Arrival arrival;
    for (int from = 0; from < memory_.size(); ++from) {
      for (int channel = 0; channel < 8; ++channel) {
        while (memory_.take(from, channel, arrival)) {
          check(from, channel, arrival);
          held_.push_back(arrival);
        }
      }
    }
    while (held_.size() > random_.below(5)) {  // in another order
      std::swap(held_.front(), held_[random_.below(static_cast<std::uint32_t>(held_.size()))]);
      memory_.release(held_.front());
      held_.pop_front();
    }
  }

  std::uint32_t sent() const { return sent_; }
  std::uint32_t taken() const { return taken_; }

 private:
  struct Slot {
    std::byte* memory;
    std::vector<Request> requests;
  };
  struct Copied {
    std::unique_ptr<Bytes> bytes;
    Request request;
  };
  struct Frame {
    std::uint32_t number;
    std::uint32_t from;
    std::uint32_t channel;
    std::uint32_t size;
  };

  bool all_done() const {
    return queued_.empty() &&
           std::ranges::all_of(slots_, [](const Slot& slot) { return slot.requests.empty(); });
  }

  Bytes frame(int to, std::uint32_t channel) {
    const std::uint32_t longest = random_.below(10) == 0 ? kLongestMessage : 300;
    const auto size = static_cast<std::uint32_t>(sizeof(Frame)) +
                      random_.below(longest - static_cast<std::uint32_t>(sizeof(Frame)) + 1);
    const Frame head{numbers_[{to, channel}]++, static_cast<std::uint32_t>(memory_.rank()), channel,
                     size};
    Bytes bytes = message(size, head.number);
    std::memcpy(bytes.data(), &head, sizeof head);
    return bytes;
  }

  void send_one() {
    --left_;
    ++sent_;
    const auto to = static_cast<int>(random_.below(static_cast<std::uint32_t>(memory_.size())));
    const std::uint32_t channel = random_.below(8);
    Slot& slot = slots_[random_.below(4)];
    Bytes bytes = frame(to, channel);
    if (slot.requests.empty() && random_.below(2) == 0) {
      std::ranges::copy(bytes, slot.memory);
      slot.requests.push_back(
          memory_.send(to, static_cast<int>(channel), {slot.memory, bytes.size()}));
      return;
    }
    auto kept = std::make_unique<Bytes>(std::move(bytes));
    const Request request = memory_.send(to, static_cast<int>(channel), *kept);
    queued_.push_back({std::move(kept), request});
  }

  void check(int from, int channel, const Arrival& arrival) {
    ++taken_;
    Frame head{};
    ASSERT_GE(arrival.size, sizeof head);
    std::memcpy(&head, arrival.data, sizeof head);
    const auto key = std::pair(from, static_cast<std::uint32_t>(channel));
    ASSERT_EQ(head.number, awaited_[key]++);
    ASSERT_EQ(head.from, static_cast<std::uint32_t>(from));
    ASSERT_EQ(head.channel, static_cast<std::uint32_t>(channel));
    ASSERT_EQ(head.size, arrival.size);
    for (std::size_t i = sizeof head; i < arrival.size; ++i) {
      ASSERT_EQ(arrival.data[i], static_cast<std::byte>(head.number + i));
    }
  }

  SharedMemory& memory_;
  std::uint32_t left_;
  std::uint32_t sent_ = 0;
  std::uint32_t taken_ = 0;
  Random random_;
  std::vector<Slot> slots_;
  std::deque<Copied> queued_;
  std::deque<Arrival> held_;
  std::map<std::pair<int, std::uint32_t>, std::uint32_t> numbers_;
  std::map<std::pair<int, std::uint32_t>, std::uint32_t> awaited_;
};

#ifdef CPDCOMM_LIGHT_TESTS
constexpr std::uint32_t kMessages = 5000;
#else
constexpr std::uint32_t kMessages = 30000;
#endif

TEST_F(SharedMemoryRanks, CarryAHundredThousandMessagesWhole) {
  std::atomic<int> quiet{0};
  std::atomic<std::uint32_t> taken{0};
  on_threads(kRanks, [&](int self) {
    Traffic traffic(rank(self), kMessages);
    traffic.run(quiet);
    traffic.take_all();  // what came after the last look
    EXPECT_EQ(traffic.sent(), kMessages);
    taken += traffic.taken();
  });
  EXPECT_EQ(taken, kRanks * kMessages);
}

/// Waits as an engine does, for at most a minute.
template <typename Ready>
bool wait(Transport& transport, Ready&& ready) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!ready()) {
    transport.progress();
    std::this_thread::yield();
    if (std::chrono::steady_clock::now() > deadline) return false;
  }
  return true;
}

TEST(SharedMemoryProcesses, TalkAndLeaveNothing) {
  MeetingPlace place(3);
  const auto children = fork_ranks(place, [](LocalBootstrap& bootstrap) {
    auto found = transport::meet_neighbours(bootstrap, true);
    if (!found.memory) return 1;
    SharedMemory& memory = *found.memory;
    const int next = (memory.rank() + 1) % 3;
    const int before_me = (memory.rank() + 2) % 3;
    Arrival arrival;
    for (unsigned i = 0; i < 1000; ++i) {
      memory.send(next, 0, message(i, i));
      if (!wait(memory, [&] { return memory.take(before_me, 0, arrival); })) return 2;
      if (Bytes(arrival.data, arrival.data + arrival.size) != message(i, i)) return 3;
      memory.release(arrival);
    }
    return 0;
  });
  for (const pid_t child : children) EXPECT_EQ(wait_for(child), 0);
  EXPECT_EQ(names_of(children), kNone);
}

TEST(SharedMemoryProcesses, NoticeOneThatWasKilled) {
  MeetingPlace place(3);
  const auto children = fork_ranks(place, [](LocalBootstrap& bootstrap) {
    auto found = transport::meet_neighbours(bootstrap, true);
    if (!found.memory) return 1;
    if (bootstrap.rank() == 1) raise(SIGKILL);
    std::optional<std::string> end;
    if (!wait(*found.memory, [&] { return (end = found.memory->end_of(1)).has_value(); })) return 2;
    const bool named = end->starts_with("rank 1 (process ") && end->ends_with("without a word");
    // The other one may have left by now, but in good order.
    const auto other = found.memory->end_of(2 - bootstrap.rank());
    return named && (!other || other->ends_with("its communicator is gone")) ? 0 : 3;
  });
  EXPECT_EQ(wait_for(children[0]), 0);
  EXPECT_EQ(wait_for(children[2]), 0);
  EXPECT_TRUE(WIFSIGNALED(wait_for(children[1])));  // a zombie until now
  EXPECT_EQ(names_of(children), kNone);
}

/// Looks what has a name at each step of a meeting, and may end the process at one, as a signal
/// would.
class WatchfulBootstrap final : public transport::Bootstrap {
 public:
  /// @param blind  whether memory without a name is not found
  WatchfulBootstrap(LocalBootstrap& inner, bool blind, int last = 0)
      : inner_(inner), blind_(blind), last_(last) {}

  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  std::vector<Bytes> allgather(std::span<const std::byte> mine) override {
    names.push_back(names_of({getpid()}).size());
    if (static_cast<int>(names.size()) == last_) raise(SIGKILL);
    auto all = inner_.allgather(mine);
    if (!blind_ || names.size() > 1) return all;
    for (Bytes& card : all) card[0] ^= std::byte{1};  // in its name
    return all;
  }

  std::vector<std::size_t> names;  // how many, before each step

 private:
  LocalBootstrap& inner_;
  bool blind_;
  int last_;
};

using Counts = std::vector<std::size_t>;

TEST(SharedMemoryProcesses, NeedNoNames) {
  MeetingPlace place(3);
  const auto children = fork_ranks(place, [](LocalBootstrap& bootstrap) {
    WatchfulBootstrap watchful(bootstrap, false);
    const auto found = transport::meet_neighbours(watchful, true);
    return found.memory && watchful.names == Counts{0, 0, 0} ? 0 : 1;
  });
  for (const pid_t child : children) EXPECT_EQ(wait_for(child), 0);
}

TEST(SharedMemoryProcesses, MeetByNamesWhereElseTheySeeNothing) {
  MeetingPlace place(3);
  const auto children = fork_ranks(place, [](LocalBootstrap& bootstrap) {
    WatchfulBootstrap watchful(bootstrap, true);
    const auto found = transport::meet_neighbours(watchful, true);
    // Until all have seen them: cards and views without names, both with them, troubles.
    return found.memory && watchful.names == Counts{0, 0, 1, 1, 0} ? 0 : 1;
  });
  for (const pid_t child : children) EXPECT_EQ(wait_for(child), 0);
  EXPECT_EQ(names_of(children), kNone);
}

void expect_nothing_when_killed(bool blind, int step) {
  MeetingPlace place(3);
  const auto children = fork_ranks(place, [&](LocalBootstrap& bootstrap) {
    WatchfulBootstrap deadly(bootstrap, blind, step);
    transport::meet_neighbours(deadly, true);
    return 0;
  });
  for (const pid_t child : children) EXPECT_TRUE(WIFSIGNALED(wait_for(child)));
  EXPECT_EQ(names_of(children), kNone) << "killed at step " << step;
}

TEST(SharedMemoryProcesses, LeaveNothingWheneverTheyAreKilled) {
  for (const int step : {1, 2, 3}) expect_nothing_when_killed(false, step);
}

TEST(SharedMemoryProcesses, LeaveNothingWhenKilledAfterTheyMetByNames) {
  expect_nothing_when_killed(true, 5);
}

TEST(SharedMemoryProcesses, KnowOneThatLeftInGoodOrder) {
  MeetingPlace place(2);
  const auto children = fork_ranks(place, [](LocalBootstrap& bootstrap) {
    auto found = transport::meet_neighbours(bootstrap, true);
    if (!found.memory) return 1;
    if (bootstrap.rank() == 1) return 0;
    const auto later = std::chrono::steady_clock::now() + std::chrono::milliseconds(3500);
    wait(*found.memory, [&] { return std::chrono::steady_clock::now() > later; });
    return found.memory->end_of(1) == "rank 1 has left: its communicator is gone" ? 0 : 2;
  });
  EXPECT_EQ(wait_for(children[1]), 0);
  EXPECT_EQ(wait_for(children[0]), 0);
}

}  // namespace
}  // namespace cpdcomm::testing
