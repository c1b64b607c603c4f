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
    if (rounds_ > kSleepFrom) {
      std::this_thread::sleep_for(std::chrono::microseconds(50));
    } else if (rounds_ > kYieldFrom) {
      std::this_thread::yield();
    }
  }
  void reset() { rounds_ = 0; }
  bool idling() const { return rounds_ > 0; }
  /// Now and then, so that the clock is not read in every round.
  bool time_to_look() const { return rounds_ % 64 == 0; }
  bool sleeping() const { return rounds_ > kSleepFrom; }

 private:
  static constexpr unsigned kYieldFrom = 50;
  static constexpr unsigned kSleepFrom = 20000;

  unsigned rounds_ = 0;
};

}  // namespace cpdcomm::collective
