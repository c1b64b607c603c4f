#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "collective/backoff.hpp"
#include "collective/inbox.hpp"
#include "collective/lane.hpp"
#include "collective/operation.hpp"
#include "collective/transfers.hpp"
#include "collective/workers.hpp"
#include "cpdcomm/error.hpp"
#include "transport/transport.hpp"

namespace cpdcomm::collective {

/// Runs any schedule with any reduction over any transport, and knows none of them by name.
///
/// A segment is a slice of every chunk. Each goes through the whole schedule on its own; up to
/// kLanes of them are under way at once, each on its own channel, so that one is encoded while
/// another is on the wire. Lanes take segments in a fixed order, so all ranks agree without a word.
/// One more channel is for what ranks say about their calls, and one for messages between two ranks
/// that go on beside the calls.
class Engine {
 public:
  /// @param threads  that encode and decode, at least 1: the caller's own
  Engine(transport::Transport& transport, int threads);
  ~Engine();
  Engine(const Engine&) = delete;

  /// @throws Error mismatch, timeout, peer_failed; then what was under way is given up
  void run(const Operation& operation, Times& times);

  /// Tells every peer that this rank does not take part in a call.
  void refuse(const Call& call, ErrorCode code, const std::string& reason);

  /// Of all that was sent: what ranks say about their calls, at times that chance decides.
  std::uint64_t bytes_of_notices() const { return bytes_of_notices_; }

  /// Of the ranks beside their calls: carried on while a call runs, else by whoever has the
  /// transport.
  Transfers& transfers() { return transfers_; }

  /// From any thread: the run under way, and every later one, ends with Error peer_failed.
  void abort() {
    aborted_ = true;
    transfers_.abort();
  }

 private:
  static constexpr int kLanes = static_cast<int>(kSegmentsUnderWay);
  static constexpr int kControl = kLanes;  // the channel after those of the lanes
  static constexpr int kTransfers = kControl + 1;

  Inbox& inbox(int peer, int channel);
  void start(const Operation& operation);
  void expect_messages(const Operation& operation, int channel);
  void loop(const Operation& operation, Times& times);
  bool advance(const Operation& operation, Lane& lane, Times& times);
  bool collect(const Operation& operation, Lane& lane);
  bool finish_work(const Operation& operation, Lane& lane, Times& times);
  void post(const Operation& operation, Lane& lane);
  void next_segment(const Operation& operation, Lane& lane);
  bool busy() const;
  void look_after(const Operation& operation, const Backoff& backoff);
  void look_for_ends(const Operation& operation);
  void look_around(const Call& call);
  void read_control(const Call& call, int peer);
  void drop_old(const Call& call);
  void hear_last_words(const Call& call);
  void say_waiting(const Call& call);
  void say(const Call& call, Kind kind, ErrorCode code, const std::string& reason, int channel);
  int awaited_peer() const;
  std::string who_keeps_us(const Call& call) const;
  void give_up();
  bool leave();
  void say_good_bye();
  bool all_left();

  transport::Transport& transport_;
  BufferPool pool_;
  std::vector<Inbox> inboxes_;  // by channel and peer
  std::vector<std::unique_ptr<Lane>> lanes_;
  std::atomic<bool> aborted_{false};
  bool failed_ = false;                  // some call has: peers' messages of it may be under way
  bool has_waited_ = false;              // and said so, maybe to peers that never looked
  bool said_waiting_ = false;            // in this run
  bool many_segments_ = false;           // in this run: threads could work on several
  std::vector<std::uint64_t> waits_in_;  // by peer: the call in which it last said that it waits
  Outbox orphans_;                       // sent in calls that failed, or beside them
  std::uint64_t bytes_of_notices_ = 0;
  std::vector<int> peers_;  // scratch
  Workers workers_;
  Transfers transfers_;
};

}  // namespace cpdcomm::collective
