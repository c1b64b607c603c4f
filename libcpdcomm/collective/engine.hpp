#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "collective/backoff.hpp"
#include "collective/inbox.hpp"
#include "collective/layout.hpp"
#include "collective/message.hpp"
#include "collective/outbox.hpp"
#include "cpdcomm/error.hpp"
#include "reduction/reduction.hpp"
#include "schedule/schedule.hpp"
#include "transport/transport.hpp"

namespace cpdcomm::collective {

using Clock = std::chrono::steady_clock;

/// One run of a schedule: what, how, and until when.
struct Operation {
  const schedule::Schedule& schedule;
  const Layout& layout;
  reduction::Reduction& reduction;
  const Call& call;
  std::uint8_t phase;
  Clock::time_point deadline;
};

/// Seconds of a run.
struct Times {
  double codec = 0;
  double wait = 0;
};

/// Runs any schedule with any reduction over any transport, and knows none of them by name.
///
/// A segment is a slice of every chunk. Each goes through the whole schedule on its own; up to
/// kLanes of them are under way at once, each on its own channel, so that one is encoded while
/// another is on the wire. Lanes take segments in a fixed order, so all ranks agree without a word.
class Engine {
 public:
  explicit Engine(transport::Transport& transport);
  ~Engine();
  Engine(const Engine&) = delete;

  /// @throws Error mismatch, timeout, peer_failed; then what was under way is given up
  void run(const Operation& operation, Times& times);

  /// Tells every peer that this rank does not take part in a call.
  void refuse(const Call& call, ErrorCode code, const std::string& reason);

  /// From any thread: the run under way, and every later one, ends with Error peer_failed.
  void abort() { aborted_ = true; }

 private:
  static constexpr std::size_t kLanes = 4;

  /// One segment on its way through the schedule.
  struct Lane {
    Lane(transport::Transport& transport, int number) : channel(number), outbox(transport) {}

    int channel;
    bool active = false;
    std::size_t segment = 0;
    std::size_t step = 0;
    std::vector<Buffer> arrived;  // what the step has received so far
    Outbox outbox;
  };

  Inbox& inbox(int peer, int channel);
  void start(const Operation& operation);
  bool advance(const Operation& operation, Lane& lane, Times& times);
  bool collect(const Operation& operation, Lane& lane);
  void act(const Operation& operation, Lane& lane, Times& times);
  void post(const Operation& operation, Lane& lane, Buffer message);
  void next_segment(const Operation& operation, Lane& lane);
  bool busy() const;
  void look_after(const Operation& operation, const Backoff& backoff);
  void look_around(const Call& call);
  int awaited_peer(const Operation& operation) const;
  void give_up();
  bool leave();
  bool all_left();

  transport::Transport& transport_;
  BufferPool pool_;
  std::map<std::pair<int, int>, std::unique_ptr<Inbox>> inboxes_;  // by peer and channel
  std::vector<Lane> lanes_;
  std::atomic<bool> aborted_{false};
  bool failed_ = false;  // some call has: peers' messages of it may be under way
  Outbox orphans_;       // sent in calls that failed

  // Scratch.
  std::vector<reduction::Range> ranges_;
  std::vector<reduction::Input> inputs_;
  std::vector<int> peers_;
};

}  // namespace cpdcomm::collective
