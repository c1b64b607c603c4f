#include "collective/engine.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>

#include "codec/float_environment.hpp"
#include "collective/envelope.hpp"

namespace cpdcomm::collective {
namespace {

using schedule::Message;
using schedule::Step;

constexpr std::size_t kLongestReason = 1000;
constexpr auto kLastWait = std::chrono::seconds(2);
constexpr std::uint64_t kCallsBetweenSweeps = 16;

Error ended(const Call& call, const std::string& end) {
  return {ErrorCode::peer_failed, fmt::format("{}: {}", describe(call), end)};
}

}  // namespace

Engine::Engine(transport::Transport& transport, int threads)
    : transport_(transport),
      pool_(transport),
      waits_in_(static_cast<std::size_t>(transport.size()), kLeft),
      orphans_(transport),
      workers_(threads - 1),
      transfers_(transport, kTransfers) {
  for (int lane = 0; lane < kLanes; ++lane) {
    lanes_.push_back(std::make_unique<Lane>(transport, lane));
  }
  for (int channel = 0; channel <= kControl; ++channel) {
    for (int peer = 0; peer < transport.size(); ++peer) {
      inboxes_.emplace_back(transport, peer, channel);
    }
  }
}

Engine::~Engine() {
  if (has_waited_) transport_.keep_address();
  bool clean = false;
  try {
    clean = leave();
  } catch (const Error&) {
    // The network fails where nobody can be told: its memory is left to it.
  }
  if (clean) return;
  pool_.leak();
  transport_.abandon();
}

/// After a call that failed, messages of it may still wait for their receivers: each rank says
/// good-bye, and takes and drops what comes until its peers have said it, too.
bool Engine::leave() {
  const bool all_must_leave = failed_ && transport_.sends_wait_for_peers();
  if (all_must_leave) say_good_bye();
  const auto deadline = Clock::now() + kLastWait;
  Backoff backoff;
  while (!((!all_must_leave || all_left()) && orphans_.empty())) {
    if (Clock::now() > deadline) break;
    transport_.progress();
    backoff.idle();
  }
  return orphans_.empty() || orphans_.outlives_rank();
}

void Engine::say_good_bye() {
  transport_.keep_address();
  Call last;
  last.sequence = kLeft;
  for (int channel = 0; channel <= kControl; ++channel) {
    say(last, Kind::refusal, ErrorCode::peer_failed, "", channel);
  }
}

bool Engine::all_left() {
  bool all = true;
  for (int peer = 0; peer < transport_.size(); ++peer) {
    if (peer == transport_.rank() || transport_.end_of(peer)) continue;
    for (int channel = 0; channel <= kControl; ++channel) {
      if (inbox(peer, channel).peek(kLeft) == nullptr) all = false;
    }
  }
  return all;
}

Inbox& Engine::inbox(int peer, int channel) {
  return inboxes_[static_cast<std::size_t>(channel * transport_.size() + peer)];
}

/// Posted before the first byte is sent, so that no peer's message waits for a place.
void Engine::expect_messages(const Operation& operation, int channel) {
  for (const Phase& phase : operation.phases) {
    for (const Step& step : phase.schedule.steps) {
      for (const Message& message : step.receive) transport_.expect(message.peer, channel);
      for (const Message& message : step.inside) transport_.expect(message.peer, channel);
    }
  }
}

void Engine::start(const Operation& operation) {
  said_waiting_ = false;
  drop_old(operation.call);
  const std::size_t segments = operation.phases.front().slices.segments();
  many_segments_ = segments > 1;
  const std::size_t used = std::min(lanes_.size(), segments);
  for (std::size_t i = 0; i < used; ++i) {
    expect_messages(operation, lanes_[i]->channel);
    lanes_[i]->start(operation, i);
  }
}

void Engine::run(const Operation& operation, Times& times) {
  const codec::FloatEnvironment environment;
  try {
    orphans_.empty();
    start(operation);
    loop(operation, times);
  } catch (const Error& error) {
    give_up();
    if (error.code() == ErrorCode::peer_failed && !aborted_) hear_last_words(operation.call);
    throw;
  } catch (...) {
    give_up();
    throw;
  }
}

/// Why a peer has gone, if it has said so.
/// @throws Error that says it
void Engine::hear_last_words(const Call& call) {
  for (int peer = 0; peer < transport_.size(); ++peer) {
    if (peer != transport_.rank()) read_control(call, peer);
  }
}

void Engine::loop(const Operation& operation, Times& times) {
  Backoff backoff;
  Clock::time_point idle_since{};
  while (busy()) {
    if (aborted_) {
      throw Error(ErrorCode::peer_failed, describe(operation.call) + " was aborted by this rank");
    }
    transport_.progress();
    if (transfers_.wanted()) transfers_.advance();
    bool moved = false;
    for (const auto& lane : lanes_) {
      if (lane->active) moved = advance(operation, *lane, times) || moved;
    }
    if (moved) {
      if (backoff.idling()) times.wait += seconds(Clock::now() - idle_since);
      backoff.reset();
      continue;
    }
    if (!backoff.idling()) idle_since = Clock::now();
    backoff.idle();
    if (backoff.time_to_look()) look_after(operation, backoff);
  }
}

/// While nothing comes: is it too late, or has a peer made another call?
void Engine::look_after(const Operation& operation, const Backoff& backoff) {
  if (Clock::now() > operation.deadline) {
    look_around(operation.call);
    throw Error(ErrorCode::timeout,
                fmt::format("{} did not end within its timeout while waiting for rank {}",
                            describe(operation.call), who_keeps_us(operation.call)));
  }
  look_for_ends(operation);
  if (!backoff.sleeping()) return;
  // What nobody here has asked for yet must not fill the way of what this call waits for.
  transfers_.advance();
  if (!said_waiting_) say_waiting(operation.call);
  look_around(operation.call);
}

/// Who waits for a rank that has ended waits in vain.
void Engine::look_for_ends(const Operation& operation) {
  for (const auto& lane : lanes_) {
    if (!lane->active) continue;
    lane->for_each_awaited([&](const Message& message) {
      const auto end = transfers_.end_of(message.peer);
      // In this order: what it sent before its end is there.
      if (!end || inbox(message.peer, lane->channel).peek(operation.call.sequence)) return;
      throw ended(operation.call, *end);
    });
  }
}

/// What one rank waits for may depend on a rank that waits for it, when their calls differ. But
/// then some rank hears from one that it did not expect; and a refusal need not wait for its turn.
void Engine::look_around(const Call& call) {
  for (int peer = 0; peer < transport_.size(); ++peer) {
    if (peer == transport_.rank()) continue;
    read_control(call, peer);
    const std::byte* message = inbox(peer, lanes_.front()->channel).peek(call.sequence);
    if (message != nullptr) check_call(call, peer, message);
  }
}

/// What slow ranks have been told and had no time to read must not pile up, nor what was sent in
/// calls that failed, on channels that calls since then may not look at.
void Engine::drop_old(const Call& call) {
  if (!failed_ && call.sequence % kCallsBetweenSweeps != 0) return;
  for (int channel = failed_ ? 0 : kControl; channel <= kControl; ++channel) {
    for (int peer = 0; peer < transport_.size(); ++peer) {
      if (peer != transport_.rank()) inbox(peer, channel).peek(call.sequence);
    }
  }
}

void Engine::read_control(const Call& call, int peer) {
  Inbox& box = inbox(peer, kControl);
  while (const std::byte* message = box.peek(call.sequence)) {
    if (sequence_of(message) > call.sequence) return;
    check_call(call, peer, message);
    waits_in_[static_cast<std::size_t>(peer)] = sequence_of(message);
    box.take();
  }
}

/// Ranks in different calls may wait for each other without a message under way.
void Engine::say_waiting(const Call& call) {
  said_waiting_ = true;
  has_waited_ = true;
  say(call, Kind::waiting, ErrorCode::mismatch, "", kControl);
}

bool Engine::busy() const {
  return std::any_of(lanes_.begin(), lanes_.end(), [](const auto& lane) { return lane->active; });
}

int Engine::awaited_peer() const {
  for (const auto& lane : lanes_) {
    if (!lane->active || lane->ended()) continue;
    const Message* const message = lane->awaited();
    if (message != nullptr) return message->peer;
  }
  // Everything has come; a peer does not take what was sent last.
  const Lane& lane = *lanes_.front();
  const Step& last = lane.phase().schedule.steps.back();
  return last.send.empty() ? transport_.rank() : last.send[0].peer;
}

/// The awaited rank; where that one has said that it waits as well, also those that have not.
std::string Engine::who_keeps_us(const Call& call) const {
  const int awaited = awaited_peer();
  const auto waits = [&](int peer) {
    return waits_in_[static_cast<std::size_t>(peer)] == call.sequence;
  };
  if (!waits(awaited)) return fmt::format("{}", awaited);
  std::vector<int> silent;
  for (int peer = 0; peer < transport_.size(); ++peer) {
    if (peer != transport_.rank() && !waits(peer)) silent.push_back(peer);
  }
  if (silent.empty()) return fmt::format("{}, which waits as well", awaited);
  return fmt::format("{}, which waits as well; no word has come from rank {}", awaited,
                     fmt::join(silent, ", "));
}

/// Returns whether anything happened.
bool Engine::advance(const Operation& operation, Lane& lane, Times& times) {
  bool moved = false;
  // Now, not when the lane ends: what is received and sent on takes room from its sender.
  lane.outbox.empty();
  do {
    while (!lane.ended()) {
      if (lane.working) {
        if (!finish_work(operation, lane, times)) return moved;
        moved = true;
        continue;
      }
      if (!collect(operation, lane)) return moved;
      const bool sends_on = lane.step().action == schedule::Action::take;
      lane.prepare(sends_on ? Buffer() : pool_.take());
      lane.working = true;
      if (many_segments_) {
        workers_.submit(lane);
      } else {
        lane.do_now();
      }
      moved = true;
    }
  } while (lane.next_phase());
  if (!lane.outbox.empty()) return moved;
  next_segment(operation, lane);
  return true;
}

/// Takes in what the lane's step waits for; true when all is there.
bool Engine::collect(const Operation& operation, Lane& lane) {
  while (const Message* const expected = lane.awaited()) {
    Inbox& box = inbox(expected->peer, lane.channel);
    const std::byte* message = box.peek(operation.call.sequence);
    if (message == nullptr) return false;
    // A peer in a later call has given this one up, and has said why before.
    if (sequence_of(message) > operation.call.sequence) {
      read_control(operation.call, expected->peer);
    }
    check({operation.call, lane.phase().number, lane.segment(), lane.step().chunk, *expected,
           lane.body_bytes(*expected)},
          {message, box.size()});
    lane.arrive(box.take());
  }
  return true;
}

bool Engine::finish_work(const Operation& operation, Lane& lane, Times& times) {
  if (!lane.done()) return false;
  lane.working = false;
  lane.check();
  times.codec += lane.work_seconds();
  if (!lane.step().send.empty()) post(operation, lane);
  lane.clear();
  lane.next_step();
  return true;
}

void Engine::post(const Operation& operation, Lane& lane) {
  const Step& step = lane.step();
  const std::size_t body = lane.body_bytes(step.send.front());
  Outgoing message = lane.take_outgoing();
  if (message.own.data() != nullptr) {
    write_header(
        {operation.call, lane.phase().number, lane.segment(), step.chunk, step.send.front(), body},
        message.own.data());
  }
  peers_.clear();
  for (const Message& send : step.send) {
    if (const auto end = transport_.end_of(send.peer)) throw ended(operation.call, *end);
    peers_.push_back(send.peer);
  }
  lane.outbox.send(std::move(message), sizeof(MessageHeader) + body, lane.channel, peers_);
}

void Engine::next_segment(const Operation& operation, Lane& lane) {
  const std::size_t segment = lane.segment() + lanes_.size();
  lane.active = segment < operation.phases.front().slices.segments();
  if (lane.active) lane.start(operation, segment);
}

void Engine::give_up() {
  failed_ = true;
  for (const auto& lane : lanes_) {
    while (!lane->done()) std::this_thread::yield();  // it still works on the caller's memory
    lane->active = false;
    lane->working = false;
    lane->clear();
    orphans_.adopt(lane->outbox);
  }
}

void Engine::say(const Call& call, Kind kind, ErrorCode code, const std::string& reason,
                 int channel) {
  peers_.clear();
  for (int peer = 0; peer < transport_.size(); ++peer) {
    if (peer != transport_.rank()) peers_.push_back(peer);
  }
  const std::size_t size = std::min(reason.size(), kLongestReason);
  Buffer message = pool_.take();
  write_notice(call, kind, code, size, message.data());
  std::memcpy(message.body(), reason.data(), size);
  bytes_of_notices_ += peers_.size() * (sizeof(MessageHeader) + size);
  orphans_.send({.own = std::move(message)}, sizeof(MessageHeader) + size, channel, peers_);
}

void Engine::refuse(const Call& call, ErrorCode code, const std::string& reason) {
  failed_ = true;
  say(call, Kind::refusal, code, reason, kControl);
}

}  // namespace cpdcomm::collective
