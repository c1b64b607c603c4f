#pragma once

#include <chrono>
#include <memory>
#include <mutex>
#include <string>

#include "collective/engine.hpp"
#include "cpdcomm/communicator.hpp"

namespace cpdcomm::collective {

/// What the phases of one call share.
struct Run {
  const Call& call;
  schedule::Schedule schedule;
  Clock::time_point deadline;
  std::uint8_t phase = 0;
  Times times;
};

/// A group of ranks over the time of its life: counts calls, runs them one at a time, and sees to
/// it that the peers learn when one fails.
class Session {
 public:
  Session(std::unique_ptr<transport::Transport> transport, const CommunicatorOptions& options);

  int rank() const { return transport_->rank(); }
  int size() const { return transport_->size(); }
  std::size_t segment_bytes() const { return segment_bytes_; }

  /// Makes one call: `work(run)` does it. A call counts as made even where it throws.
  /// @param timeout  0: the session's own
  /// @param report   bytes and times are filled in
  template <typename Work>
  void call(Call call, std::chrono::milliseconds timeout, Report& report, Work&& work) {
    const std::lock_guard lock(mutex_);
    check_alive();
    call.sequence = ++sequence_;
    if (call.collective != Collective::barrier) {
      call.options_hash += static_cast<std::uint32_t>(segment_bytes_);
    }
    const std::uint64_t sent = transport_->bytes_sent();
    Run run{call, {}, deadline(timeout), 0, {}};
    try {
      work(run);
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

  /// One phase of a call: runs its schedule on a reduction.
  void run(Run& run, const Layout& layout, reduction::Reduction& reduction);
  /// The same, cut into a chunk for each rank.
  void run(Run& run, reduction::Reduction& reduction);

  void refuse(const std::string& reason, ErrorCode code);
  void abort() { engine_.abort(); }

 private:
  void check_alive() const;
  Clock::time_point deadline(std::chrono::milliseconds timeout) const;
  void tell_peers(const Call& call, ErrorCode code, const std::string& reason);
  void fail(const Call& call, ErrorCode code, const std::string& reason);

  std::unique_ptr<transport::Transport> transport_;
  Engine engine_;
  std::chrono::milliseconds timeout_;
  std::size_t segment_bytes_;
  std::uint64_t sequence_ = 0;
  std::string dead_;  // why, when it is
  std::mutex mutex_;
};

}  // namespace cpdcomm::collective
