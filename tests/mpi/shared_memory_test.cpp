// Ranks that are processes: what shared memory carries between them.
#include "transport/shared_memory.hpp"

#include <gtest/gtest.h>
#include <mpi.h>

#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "transport/mpi_bootstrap.hpp"
#include "transport/neighbours.hpp"

namespace cpdcomm::testing {
namespace {

using transport::Arrival;
using transport::kLongestMessage;
using transport::SharedMemory;

/// MPI has started all of these on one host.
std::unique_ptr<SharedMemory> share() {
  transport::MpiBootstrap bootstrap(MPI_COMM_WORLD);
  auto found = transport::meet_neighbours(bootstrap, true);
  EXPECT_EQ(found.reason, "");
  EXPECT_EQ(found.memory != nullptr, bootstrap.size() > 1);
  return std::move(found.memory);
}

std::byte content(int from, std::uint32_t number, std::size_t place) {
  return static_cast<std::byte>(static_cast<std::uint32_t>(from) * 31 + number * 7 + place);
}

/// Each rank sends to the next, and gets as much from the one before.
class Circle {
 public:
  explicit Circle(SharedMemory& memory)
      : memory_(memory),
        next_((memory.rank() + 1) % memory.size()),
        before_((memory.rank() + memory.size() - 1) % memory.size()) {
    for (int i = 0; i < 6; ++i) free_.push_back(memory.allocate(kLongestMessage));
  }

  void run(std::uint32_t messages) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (sent_ < messages || taken_ < messages || !under_way_.empty()) {
      if (sent_ < messages && !free_.empty()) send();
      take();
      memory_.progress();
      reclaim();
      ASSERT_LT(std::chrono::steady_clock::now(), end) << sent_ << " sent, " << taken_ << " taken";
    }
  }

 private:
  struct Sent {
    std::byte* slot;
    transport::Request request;
  };

  /// The same sizes on every rank: number by number.
  static std::size_t size_of_message(std::uint32_t number) {
    return number % 50 == 0 ? kLongestMessage : number * 37 % 1500;
  }

  void send() {
    std::byte* const slot = free_.back();
    free_.pop_back();
    const std::size_t size = size_of_message(sent_);
    for (std::size_t i = 0; i < size; ++i) slot[i] = content(memory_.rank(), sent_, i);
    under_way_.push_back({slot, memory_.send(next_, static_cast<int>(sent_ % 5), {slot, size})});
    ++sent_;
  }

  void take() {
    Arrival arrival;
    if (!memory_.take(before_, static_cast<int>(taken_ % 5), arrival)) {
      std::this_thread::yield();
      return;
    }
    ASSERT_EQ(arrival.size, size_of_message(taken_));
    for (std::size_t i = 0; i < arrival.size; ++i) {
      ASSERT_EQ(arrival.data[i], content(before_, taken_, i)) << "message " << taken_;
    }
    memory_.release(arrival);
    ++taken_;
  }

  void reclaim() {
    std::erase_if(under_way_, [&](const Sent& sent) {
      if (!memory_.done(sent.request)) return false;
      free_.push_back(sent.slot);
      return true;
    });
  }

  SharedMemory& memory_;
  int next_;
  int before_;
  std::uint32_t sent_ = 0;
  std::uint32_t taken_ = 0;
  std::vector<std::byte*> free_;
  std::vector<Sent> under_way_;
};

TEST(SharedMemoryOfProcesses, CarriesAHundredThousandMessagesWhole) {
  const auto memory = share();
  if (!memory) return;  // one process
  Circle(*memory).run(100'000 / static_cast<std::uint32_t>(memory->size()));
}

TEST(SharedMemoryOfProcesses, CanBeSharedManyTimesAtOnce) {
  std::vector<std::unique_ptr<SharedMemory>> all;
  for (int i = 0; i < 10; ++i) all.push_back(share());
  for (const auto& memory : all) {
    if (memory) Circle(*memory).run(100);
  }
}

}  // namespace
}  // namespace cpdcomm::testing
