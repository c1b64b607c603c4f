#include "collective/backoff.hpp"

#include <gtest/gtest.h>

namespace cpdcomm::testing {
namespace {

/// Rounds until a backoff sleeps, each with `pause` beside it.
int rounds_until_sleep(collective::Backoff& backoff, std::chrono::milliseconds pause) {
  int rounds = 0;
  while (!backoff.sleeping() && rounds < 100'000) {
    backoff.idle();
    ++rounds;
    if (pause.count() != 0) std::this_thread::sleep_for(pause);
  }
  return rounds;
}

TEST(Backoff, SleepsAfterManyRounds) {
  collective::Backoff backoff;
  EXPECT_LT(rounds_until_sleep(backoff, {}), 21'000);
}

/// Who gives its core away may get it back late: to sleep, and to look at what peers say, does not
/// wait for as many rounds then.
TEST(Backoff, SleepsSoonWhereRoundsAreLong) {
  collective::Backoff backoff;
  EXPECT_LT(rounds_until_sleep(backoff, std::chrono::milliseconds(1)), 1000);
  backoff.reset();
  EXPECT_FALSE(backoff.sleeping());
  EXPECT_GT(rounds_until_sleep(backoff, std::chrono::milliseconds(1)), 60);
}

}  // namespace
}  // namespace cpdcomm::testing
