#pragma once

#include <chrono>
#include <thread>

namespace cpdcomm::collective {

/// What to do while nothing happens: poll at first, then let others run, then sleep in between.
/// Ranks often share cores with each other and with the user's own threads.
class Backoff {
 public:
  void idle() {
    ++rounds_;
    if (time_to_look()) look_at_clock();
    if (sleeping_) {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    } else if (rounds_ > kYieldFrom) {
      std::this_thread::yield();
    }
  }
  void reset() {
    rounds_ = 0;
    sleeping_ = false;
  }
  bool idling() const { return rounds_ > 0; }
  /// Now and then, so that the clock is not read in every round.
  bool time_to_look() const { return rounds_ % kRoundsPerLook == 0; }
  bool sleeping() const { return sleeping_; }

 private:
  using Clock = std::chrono::steady_clock;

  static constexpr unsigned kRoundsPerLook = 64;
  static constexpr unsigned kYieldFrom = 50;
  // About 10 ms on cores of our own; where others run, each round may take as long.
  static constexpr unsigned kSleepFrom = 20000;
  static constexpr auto kSleepAfter = std::chrono::milliseconds(100);

  void look_at_clock() {
    const auto now = Clock::now();
    if (rounds_ == kRoundsPerLook) first_look_ = now;
    sleeping_ = rounds_ > kSleepFrom || now - first_look_ > kSleepAfter;
  }

  unsigned rounds_ = 0;
  bool sleeping_ = false;
  Clock::time_point first_look_;
};

}  // namespace cpdcomm::collective
