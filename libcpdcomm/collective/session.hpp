#pragma once

#include <chrono>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <string>

#include "collective/engine.hpp"
#include "collective/plan.hpp"
#include "collective/schedules.hpp"
#include "cpdcomm/communicator.hpp"

namespace cpdcomm::collective {

/// What the phases of one call share.
struct Run {
  const Call& call;
  Plan plan;
  Clock::time_point deadline;
  std::uint8_t phase = 0;  ///< the next one's number
  Times times;
};

/// What a phase runs.
struct Work {
  const schedule::Schedule& schedule;
  const Slices& slices;
  reduction::Reduction& reduction;
};

/// A group of ranks over the time of its life: counts calls, runs them one at a time, and sees to
/// it that the peers learn when one fails.
class Session {
 public:
  Session(std::unique_ptr<transport::Transport> transport, const CommunicatorOptions& options);

  int rank() const { return transport_->rank(); }
  int size() const { return transport_->size(); }
  const schedule::Hosts& hosts() const { return hosts_; }
  Schedules& schedules() { return schedules_; }
  /// How a call with these options is done.
  Plan plan(const AllreduceOptions& options) const;

  /// Makes one call: `work(run)` does it. A call counts as made even where it throws.
  /// @param timeout  0: the session's own
  /// @param report   bytes and times are filled in
  template <typename Body>
  void call(Call call, const Plan& plan, std::chrono::milliseconds timeout, Report& report,
            Body&& body) {
    const std::lock_guard lock(mutex_);
    check_alive();
    call.sequence = ++sequence_;
    if (call.collective != Collective::barrier) {
      call.options_hash += static_cast<std::uint32_t>(plan.segment_bytes);
    }
    const std::uint64_t sent = transport_->bytes_sent();
    Run run{call, plan, deadline(timeout), 0, {}};
    try {
      body(run);
    } catch (const Error& error) {
      fail(call, error.code(), error.what());
      throw;
    } catch (const std::exception& error) {
      fail(call, ErrorCode::invalid_argument, error.what());
      throw;
    }
    report.wire_bytes = transport_->bytes_sent() - sent;
    report.codec_seconds = run.times.codec;
    report.wait_seconds = run.times.wait;
  }

  /// One phase of a call, or two that each segment goes through at once.
  void run(Run& run, std::initializer_list<Work> works);

  void refuse(const std::string& reason, ErrorCode code);
  void abort() { engine_.abort(); }

 private:
  void check_alive() const;
  Clock::time_point deadline(std::chrono::milliseconds timeout) const;
  void tell_peers(const Call& call, ErrorCode code, const std::string& reason);
  void fail(const Call& call, ErrorCode code, const std::string& reason);

  std::unique_ptr<transport::Transport> transport_;
  Engine engine_;
  schedule::Hosts hosts_;
  Schedules schedules_;
  std::chrono::milliseconds timeout_;
  std::size_t segment_bytes_;  // asked for; 0: free
  std::vector<Phase> phases_;  // scratch
  std::uint64_t sequence_ = 0;
  std::string dead_;  // why, when it is
  std::mutex mutex_;
};

}  // namespace cpdcomm::collective
