#include "collective/session.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "topology/cores.hpp"

namespace cpdcomm::collective {
namespace {

constexpr std::size_t kSmallestSegment = 64;

std::size_t checked_segment(std::size_t asked) {
  if (asked == 0) return asked;
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

schedule::Hosts hosts_of(const transport::Transport& transport) {
  schedule::Hosts hosts;
  for (int rank = 0; rank < transport.size(); ++rank) hosts.push_back(transport.host_of(rank));
  return hosts;
}

/// More threads than this have nothing to do at once, as many segments as are under way.
constexpr int kMostChosenThreads = 4;

int codec_threads(int asked, const transport::Transport& transport) {
  constexpr int kMostThreads = 256;
  if (asked == 0) {
    const int spare = topology::spare_cores(transport.ranks_on_machine());
    return std::min(1 + spare, kMostChosenThreads);
  }
  if (asked > 0 && asked <= kMostThreads) return asked;
  throw Error(ErrorCode::invalid_argument,
              fmt::format("codec_threads is {}; allowed is 0 to {}", asked, kMostThreads));
}

}  // namespace

Session::Session(std::unique_ptr<transport::Transport> transport,
                 const CommunicatorOptions& options)
    : transport_(std::move(transport)),
      engine_(*transport_, codec_threads(options.codec_threads, *transport_)),
      hosts_(hosts_of(*transport_)),
      schedules_(transport_->rank(), hosts_),
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

Plan Session::plan(const AllreduceOptions& options) const {
  return plan_for({options, hosts_, segment_bytes_});
}

void Session::run(Run& run, std::initializer_list<Work> works) {
  phases_.clear();
  for (const Work& work : works) {
    phases_.push_back({work.schedule, work.slices, work.reduction, run.phase++});
  }
  engine_.run({phases_, run.call, run.deadline}, run.times);
}

void Session::refuse(const std::string& reason, ErrorCode code) {
  const std::lock_guard lock(mutex_);
  if (!dead_.empty()) return;
  Call call;
  call.sequence = ++sequence_;
  tell_peers(call, code, reason);
}

}  // namespace cpdcomm::collective
