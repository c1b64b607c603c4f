#pragma once

#include <chrono>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "collective/engine.hpp"
#include "collective/native.hpp"
#include "collective/plan.hpp"
#include "collective/schedules.hpp"
#include "collective/tuning/terms.hpp"
#include "collective/tuning/tuner.hpp"
#include "cpdcomm/communicator.hpp"

namespace cpdcomm::collective {

/// What the phases of one call share.
struct Run {
  const Call& call;
  Plan plan;
  Clock::time_point deadline;
  std::uint64_t sent_before;  ///< bytes that are not the call's own
  std::uint8_t phase = 0;     ///< the next one's number
  Times times;
  bool settles = false;  ///< a plan's table was told to all in it
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
  bool allows_threads() const { return transport_->allows_threads(); }
  const schedule::Hosts& hosts() const { return hosts_; }
  Schedules& schedules() { return schedules_; }
  /// The network's own all-reduce, of a plan that takes it.
  void native(std::span<const Tensor> tensors, const AllreduceOptions& options, Report& report) {
    native_.allreduce(*transport_, tensors, options, report);
  }
  /// How an all-reduce is done; before one has succeeded, only what settle() needs to know.
  Plan plan(std::span<const Tensor> tensors, const AllreduceOptions& options);
  /// The beginning of an all-reduce. Until one has succeeded it is a phase in which rank 0 tells
  /// its table to all, and then there is a plan.
  /// @throws Error invalid_argument for a table that cannot be read
  void settle(Run& run, std::span<const Tensor> tensors, const AllreduceOptions& options);
  /// How a call is done that sums nothing.
  Plan plan() const { return plan_of_bytes(size(), segment_bytes_); }

  /// Makes one call: `body(run)` does it. A call counts as made even where it throws.
  /// @param make_plan  says how it is done, when it is its turn
  /// @param timeout    0: the session's own
  /// @param report     bytes and times are filled in
  template <typename MakePlan, typename Body>
  void call(Call call, MakePlan&& make_plan, std::chrono::milliseconds timeout, Report& report,
            Body&& body) {
    const std::lock_guard lock(mutex_);
    check_alive();
    const Plan plan = make_plan();
    call.sequence = ++sequence_;
    if (call.collective != Collective::barrier) {
      call.options_hash += hash_of(plan);
    }
    Run run{call, plan, deadline(timeout), bytes_of_values(), 0, {}};
    try {
      body(run);
    } catch (const Error& error) {
      fail(call, error.code(), error.what());
      throw;
    } catch (const std::exception& error) {
      fail(call, ErrorCode::invalid_argument, error.what());
      throw;
    }
    // It takes all ranks to end a call: all know the table now.
    settled_ = settled_ || run.settles;
    report.wire_bytes = bytes_of_values() - run.sent_before;
    report.codec_seconds = run.times.codec;
    report.wait_seconds = run.times.wait;
  }

  /// One phase of a call, or two that each segment goes through at once.
  void run(Run& run, std::initializer_list<Work> works);

  void refuse(const std::string& reason, ErrorCode code);
  void abort() { engine_.abort(); }

  /// Starts a send or a receive beside the calls, which carry_on() and the calls carry on.
  /// @param timeout  0: the session's own
  /// @throws Error invalid_argument
  std::shared_ptr<Transfer::State> post(Transfer::State::Kind kind, std::byte* data,
                                        std::size_t size, int peer, std::uint32_t tag,
                                        std::chrono::milliseconds timeout, Ended then);
  /// Whether transfers need to be carried on, or have ended and nobody was told; from any thread.
  bool has_work_left() { return engine_.transfers().wanted() || engine_.transfers().has_news(); }
  /// Carries transfers on, unless a call is doing that, and tells of those that have ended. Whether
  /// anything happened.
  bool carry_on();

 private:
  void spread(Run& run, std::span<std::byte> bytes);
  void share(Run& run, tuning::Terms& terms);
  void make_tuner(const tuning::Terms& terms);
  bool advance_transfers();
  void notice_dead_transfers();
  void check_alive();
  /// Sent so far, without what depends on chance: the same calls send the same.
  std::uint64_t bytes_of_values() {
    return transport_->bytes_sent() - engine_.bytes_of_notices() - engine_.transfers().bytes_sent();
  }
  Clock::time_point deadline(std::chrono::milliseconds timeout) const;
  void tell_peers(const Call& call, ErrorCode code, const std::string& reason);
  void fail(const Call& call, ErrorCode code, const std::string& reason);

  std::unique_ptr<transport::Transport> transport_;
  Engine engine_;
  schedule::Hosts hosts_;
  Schedules schedules_;
  std::chrono::milliseconds timeout_;
  std::size_t segment_bytes_;  // asked for; 0: free
  Native native_;
  std::string tuning_;  // asked for
  bool checks_;         // asked for; rank 0's when there is a tuner
  std::unique_ptr<tuning::Tuner> tuner_;
  bool settled_ = false;       // all ranks have the same tuner
  std::vector<Phase> phases_;  // scratch
  std::uint64_t sequence_ = 0;
  std::string dead_;  // why, when it is
  std::mutex mutex_;
};

}  // namespace cpdcomm::collective
