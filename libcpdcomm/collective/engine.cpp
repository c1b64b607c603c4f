#include "collective/engine.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "codec/float_environment.hpp"
#include "collective/envelope.hpp"

namespace cpdcomm::collective {
namespace {

using schedule::Action;
using schedule::Message;
using schedule::Step;

constexpr std::size_t kLongestReason = 1000;
constexpr auto kLastWait = std::chrono::seconds(2);

double seconds(Clock::duration duration) { return std::chrono::duration<double>(duration).count(); }

std::size_t body_bytes(const reduction::Reduction& reduction, reduction::Slice slice,
                       const Message& message) {
  std::size_t bytes = 0;
  for (const reduction::Range& range : slice) {
    bytes += reduction.bytes(range.tensor, range.count, message.payload, message.parts);
  }
  return bytes;
}

}  // namespace

Engine::Engine(transport::Transport& transport) : transport_(transport), orphans_(transport) {
  for (std::size_t lane = 0; lane < kLanes; ++lane) {
    lanes_.emplace_back(transport, static_cast<int>(lane));
  }
}

Engine::~Engine() {
  bool clean = false;
  try {
    clean = leave();
  } catch (const Error&) {
    // The network fails where nobody can be told: its memory is left to it.
  }
  for (auto& [key, box] : inboxes_) clean = box->close() && clean;
  if (clean) return;
  orphans_.leak();
  transport_.abandon();
}

/// After a call that failed, messages of it may still wait for their receivers: each rank says
/// good-bye, and takes and drops what comes until its peers have said it, too.
bool Engine::leave() {
  if (!failed_ || !transport_.sends_wait_for_peers()) return true;
  Call last;
  last.sequence = kLeft;
  refuse(last, ErrorCode::peer_failed, "");
  transport_.keep_address();
  const auto deadline = Clock::now() + kLastWait;
  Backoff backoff;
  while (!(all_left() && orphans_.empty()) && Clock::now() < deadline) backoff.idle();
  return orphans_.empty();
}

bool Engine::all_left() {
  bool all = true;
  for (int peer = 0; peer < transport_.size(); ++peer) {
    if (peer == transport_.rank()) continue;
    for (const Lane& lane : lanes_) {
      if (inbox(peer, lane.channel).peek(kLeft) == nullptr) all = false;
    }
  }
  return all;
}

Inbox& Engine::inbox(int peer, int channel) {
  const std::pair key(peer, channel);
  const auto found = inboxes_.find(key);
  if (found != inboxes_.end()) return *found->second;
  // Only then in its place: to post its receives may fail.
  auto box = std::make_unique<Inbox>(transport_, pool_, peer, channel);
  return *inboxes_.emplace(key, std::move(box)).first->second;
}

void Engine::start(const Operation& operation) {
  const std::size_t used = std::min(kLanes, operation.layout.segments());
  for (std::size_t i = 0; i < used; ++i) {
    Lane& lane = lanes_[i];
    lane.active = true;
    lane.segment = i;
    lane.step = 0;
    // Posted before the first byte is sent, so that no peer's message waits for a place.
    for (const Step& step : operation.schedule.steps) {
      for (const Message& message : step.receive) inbox(message.peer, lane.channel);
    }
  }
}

void Engine::run(const Operation& operation, Times& times) {
  const codec::FloatEnvironment environment;
  Backoff backoff;
  Clock::time_point idle_since{};
  try {
    orphans_.empty();
    start(operation);
    while (busy()) {
      if (aborted_) {
        throw Error(ErrorCode::peer_failed, describe(operation.call) + " was aborted by this rank");
      }
      bool moved = false;
      for (Lane& lane : lanes_) {
        if (lane.active) moved = advance(operation, lane, times) || moved;
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
  } catch (...) {
    give_up();
    throw;
  }
}

/// While nothing comes: is it too late, or has a peer made another call?
void Engine::look_after(const Operation& operation, const Backoff& backoff) {
  if (Clock::now() > operation.deadline) {
    throw Error(ErrorCode::timeout, fmt::format("{} did not end in time: waiting for rank {}",
                                                describe(operation.call), awaited_peer(operation)));
  }
  if (backoff.sleeping()) look_around(operation.call);
}

/// What one rank waits for may depend on a rank that waits for it, when their calls differ. But
/// then some rank hears from one that it did not expect; and a refusal need not wait for its turn.
void Engine::look_around(const Call& call) {
  for (int peer = 0; peer < transport_.size(); ++peer) {
    if (peer == transport_.rank()) continue;
    const std::byte* message = inbox(peer, lanes_.front().channel).peek(call.sequence);
    if (message != nullptr) check_call(call, peer, message);
  }
}

bool Engine::busy() const {
  return std::any_of(lanes_.begin(), lanes_.end(), [](const Lane& lane) { return lane.active; });
}

int Engine::awaited_peer(const Operation& operation) const {
  for (const Lane& lane : lanes_) {
    if (!lane.active || lane.step == operation.schedule.steps.size()) continue;
    const Step& step = operation.schedule.steps[lane.step];
    if (lane.arrived.size() < step.receive.size()) return step.receive[lane.arrived.size()].peer;
  }
  // Everything has come; a peer does not take what was sent last.
  return operation.schedule.steps.back().send.empty()
             ? operation.schedule.rank
             : operation.schedule.steps.back().send[0].peer;
}

/// Returns whether anything happened.
bool Engine::advance(const Operation& operation, Lane& lane, Times& times) {
  bool moved = false;
  while (lane.step < operation.schedule.steps.size()) {
    if (!collect(operation, lane)) return moved;
    act(operation, lane, times);
    ++lane.step;
    moved = true;
  }
  if (!lane.outbox.empty()) return moved;
  next_segment(operation, lane);
  return true;
}

/// Takes in what the lane's step waits for; true when all is there.
bool Engine::collect(const Operation& operation, Lane& lane) {
  const Step& step = operation.schedule.steps[lane.step];
  while (lane.arrived.size() < step.receive.size()) {
    const Message& expected = step.receive[lane.arrived.size()];
    Inbox& box = inbox(expected.peer, lane.channel);
    const std::byte* message = box.peek(operation.call.sequence);
    if (message == nullptr) return false;
    operation.layout.slice(static_cast<std::size_t>(step.chunk), lane.segment, ranges_);
    check({operation.call, operation.phase, lane.segment, step.chunk, expected,
           body_bytes(operation.reduction, ranges_, expected)},
          message);
    lane.arrived.push_back(box.take());
  }
  return true;
}

void Engine::act(const Operation& operation, Lane& lane, Times& times) {
  const Step& step = operation.schedule.steps[lane.step];
  reduction::Reduction& reduction = operation.reduction;
  operation.layout.slice(static_cast<std::size_t>(step.chunk), lane.segment, ranges_);
  const auto begin = Clock::now();
  Buffer out;
  if (step.action == Action::take) {
    out = std::move(lane.arrived.front());
    reduction.deliver(ranges_, out.body());
  } else if (step.action == Action::send_part) {
    out = pool_.take();
    reduction.encode_part(ranges_, out.body());
  } else {
    inputs_.clear();
    for (std::size_t i = 0; i < lane.arrived.size(); ++i) {
      inputs_.push_back({lane.arrived[i].body(), step.receive[i].payload, step.receive[i].parts});
    }
    const bool last = step.action == Action::finish;
    out = pool_.take();
    reduction.join(ranges_, inputs_, static_cast<std::size_t>(step.own_after),
                   last ? schedule::Payload::result : schedule::Payload::partial, out.body());
    if (last) reduction.deliver(ranges_, out.body());
  }
  times.codec += seconds(Clock::now() - begin);
  lane.arrived.clear();
  if (!step.send.empty()) post(operation, lane, std::move(out));
}

void Engine::post(const Operation& operation, Lane& lane, Buffer message) {
  const Step& step = operation.schedule.steps[lane.step];
  const std::size_t body = body_bytes(operation.reduction, ranges_, step.send.front());
  write_header({operation.call, operation.phase, lane.segment, step.chunk, step.send.front(), body},
               message.data());
  peers_.clear();
  for (const Message& send : step.send) peers_.push_back(send.peer);
  lane.outbox.send(std::move(message), sizeof(MessageHeader) + body, lane.channel, peers_);
}

void Engine::next_segment(const Operation& operation, Lane& lane) {
  lane.step = 0;
  lane.segment += kLanes;
  lane.active = lane.segment < operation.layout.segments();
}

void Engine::give_up() {
  failed_ = true;
  for (Lane& lane : lanes_) {
    lane.active = false;
    lane.arrived.clear();
    orphans_.adopt(lane.outbox);
  }
}

void Engine::refuse(const Call& call, ErrorCode code, const std::string& reason) {
  peers_.clear();
  for (int peer = 0; peer < transport_.size(); ++peer) {
    if (peer != transport_.rank()) peers_.push_back(peer);
  }
  const std::size_t size = std::min(reason.size(), kLongestReason);
  for (const Lane& lane : lanes_) {
    Buffer message = pool_.take();
    write_refusal(call, code, size, message.data());
    std::memcpy(message.body(), reason.data(), size);
    orphans_.send(std::move(message), sizeof(MessageHeader) + size, lane.channel, peers_);
  }
  failed_ = true;
}

}  // namespace cpdcomm::collective
