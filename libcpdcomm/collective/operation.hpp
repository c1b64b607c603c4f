#pragma once

#include <chrono>
#include <span>

#include "collective/message.hpp"
#include "collective/slices.hpp"
#include "reduction/reduction.hpp"
#include "schedule/schedule.hpp"

namespace cpdcomm::collective {

using Clock = std::chrono::steady_clock;

inline double seconds(Clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

/// One run of a schedule.
struct Phase {
  const schedule::Schedule& schedule;
  const Slices& slices;
  reduction::Reduction& reduction;
  std::uint8_t number;  ///< of the call's phases
};

/// What is to be done, and until when. Each segment goes through all phases, one after the other;
/// they have equally many segments.
struct Operation {
  std::span<const Phase> phases;
  const Call& call;
  Clock::time_point deadline;
};

/// Seconds of a run.
struct Times {
  double codec = 0;
  double wait = 0;
};

}  // namespace cpdcomm::collective
