#include "collective/session.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace cpdcomm::collective {
namespace {

// A cut moves back to a multiple of 8 values; those may stand in the segment before.
constexpr std::size_t kLargestSegment = kLargestBody - 8 * 2 * sizeof(float);
constexpr std::size_t kSmallestSegment = 64;

std::size_t checked_segment(std::size_t asked) {
  if (asked == 0) return kLargestSegment;
  if (asked < kSmallestSegment || asked > kLargestSegment) {
    throw Error(ErrorCode::invalid_argument, fmt::format("segment_bytes is {}; allowed is {} to {}",
                                                         asked, kSmallestSegment, kLargestSegment));
  }
  return asked;
}

std::chrono::milliseconds checked_timeout(std::chrono::milliseconds asked) {
  if (asked.count() > 0) return asked;
  throw Error(ErrorCode::invalid_argument,
              fmt::format("timeout is {} ms; it must be positive", asked.count()));
}

}  // namespace

Session::Session(std::unique_ptr<transport::Transport> transport,
                 const CommunicatorOptions& options)
    : transport_(std::move(transport)),
      engine_(*transport_),
      timeout_(checked_timeout(options.timeout)),
      segment_bytes_(checked_segment(options.segment_bytes)) {}

void Session::check_alive() const {
  if (dead_.empty()) return;
  throw Error(ErrorCode::peer_failed, "this communicator is dead: " + dead_);
}

Clock::time_point Session::deadline(std::chrono::milliseconds timeout) const {
  // A year is as good as for ever, and adds up with the clock without an overflow.
  constexpr std::chrono::milliseconds kForEver = std::chrono::hours(24 * 365);
  return Clock::now() + std::min(timeout.count() > 0 ? timeout : timeout_, kForEver);
}

void Session::tell_peers(const Call& call, ErrorCode code, const std::string& reason) {
  try {
    engine_.refuse(call, code, reason);
  } catch (const Error&) {
    // The network is gone with the peers: the error under way says more.
  }
}

void Session::fail(const Call& call, ErrorCode code, const std::string& reason) {
  if (code == ErrorCode::timeout || code == ErrorCode::peer_failed) dead_ = reason;
  tell_peers(call, code, reason);
  if (!dead_.empty()) transport_->abandon();
}

void Session::run(Run& run, const Layout& layout, reduction::Reduction& reduction) {
  engine_.run({run.schedule, layout, reduction, run.call, run.phase, run.deadline}, run.times);
  ++run.phase;
}

void Session::run(Run& run, reduction::Reduction& reduction) {
  this->run(run, Layout::balanced(reduction, size(), run.schedule.chunks, segment_bytes_),
            reduction);
}

void Session::refuse(const std::string& reason, ErrorCode code) {
  const std::lock_guard lock(mutex_);
  if (!dead_.empty()) return;
  Call call;
  call.sequence = ++sequence_;
  tell_peers(call, code, reason);
}

}  // namespace cpdcomm::collective
