#include "collective/transfers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <optional>
#include <thread>
#include <type_traits>

#include "cpdcomm/version.hpp"

namespace cpdcomm::collective {
namespace {

using Clock = Transfer::State::Clock;

constexpr std::uint32_t kTransferMagic = 0x54445043;  // "CPDT"
constexpr auto kLastWait = std::chrono::seconds(2);
constexpr unsigned kRoundsPerLook = 64;
constexpr std::size_t kLongestReason = 1000;
/// Pieces of one message that are under way at once.
constexpr std::size_t kPieces = 4;

}  // namespace

/// Stands before the body of every message. Little-endian, versioned with `wire_version`.
struct Transfers::Header {
  std::uint32_t magic = kTransferMagic;
  std::uint8_t version = wire_version;
  Kind kind = Kind::whole;
  std::uint16_t unused = 0;
  std::uint32_t tag = 0;
  std::uint32_t unused_too = 0;
  std::uint64_t id = 0;    ///< the sender's number
  std::uint64_t size = 0;  ///< of the whole message; in `decline`, of the receiver's room
};

namespace {

constexpr std::size_t kHeaderBytes = 32;
/// Longer messages are offered first.
constexpr std::size_t kLongestWhole = 8192 - kHeaderBytes;
constexpr std::size_t kLongestPiece = transport::kLongestMessage - kHeaderBytes;

}  // namespace

Transfers::Transfers(transport::Transport& transport, int channel)
    : transport_(transport), channel_(channel), answers_(transport) {
  static_assert(sizeof(Header) == kHeaderBytes && std::is_trivially_copyable_v<Header>);
}

Transfers::~Transfers() {
  if (!used_ && !wanted()) return;
  // A message that nobody has received may still be under way.
  transport_.keep_address();
  if (!finish_sends()) {
    answers_.leak();
    transport_.abandon();
  }
  tell_news();
}

/// At the end: what is sent goes out, as far as its receivers are there; all else is given up.
/// @return whether no memory of ours is in use any more
bool Transfers::finish_sends() {
  const auto deadline = Clock::now() + kLastWait;
  try {
    do {
      transport_.progress();
      if (!advance()) std::this_thread::yield();
    } while (!(sends_.empty() && answers_.empty()) && Clock::now() < deadline);
    end_all(Error(ErrorCode::peer_failed, "its communicator is gone"));
    return answers_.empty();
  } catch (const Error&) {
    // The network fails where nobody can be told: its memory is left to it.
    end_all(Error(ErrorCode::peer_failed, "its communicator is gone"));
    return false;
  }
}

void Transfers::post(std::shared_ptr<State> transfer) {
  const std::lock_guard lock(posted_mutex_);
  posted_.push_back(std::move(transfer));
  unfinished_.fetch_add(1, std::memory_order_relaxed);
}

void Transfers::end(const std::shared_ptr<State>& transfer, int peer, const Error* error) {
  if (transfer->has_callback()) {
    const std::lock_guard lock(posted_mutex_);
    ended_.push_back(transfer);
    news_.fetch_add(1, std::memory_order_relaxed);
  }
  transfer->end(peer, error);
  // Who sees that it has ended sees the news, too.
  unfinished_.fetch_sub(1, std::memory_order_release);
}

void Transfers::finish(const std::shared_ptr<State>& transfer, int peer) {
  end(transfer, peer, nullptr);
}

void Transfers::fail(const std::shared_ptr<State>& transfer, ErrorCode code,
                     const std::string& why) {
  const Error error(code, transfer->describe() + ": " + why);
  end(transfer, kAnyRank, &error);
}

void Transfers::tell_news() {
  std::vector<std::shared_ptr<State>> ended;
  {
    const std::lock_guard lock(posted_mutex_);
    ended.swap(ended_);
    news_.fetch_sub(ended.size(), std::memory_order_relaxed);
  }
  for (const auto& transfer : ended) {
    transfer->wait();
    transfer->call_back();
  }
}

bool Transfers::advance() noexcept {
  try {
    if (aborted_ && death_.empty()) {
      throw Error(ErrorCode::peer_failed, "transfers were aborted by this rank");
    }
    bool moved = take_posted();
    for (int peer = 0; peer < transport_.size(); ++peer) {
      if (peer != transport_.rank()) moved = take_arrivals(peer) || moved;
    }
    moved = push_all() || moved;
    answers_.empty();
    idle_ = moved ? 0 : idle_ + 1;
    if (idle_ % kRoundsPerLook == kRoundsPerLook - 1) look_for_trouble();
    return moved;
  } catch (const Error& error) {
    die(error);
  } catch (const std::exception& error) {
    die(Error(ErrorCode::peer_failed, error.what()));
  }
  return true;
}

bool Transfers::take_posted() {
  std::vector<std::shared_ptr<State>> posted;
  {
    const std::lock_guard lock(posted_mutex_);
    if (posted_.empty()) return false;
    posted.swap(posted_);
  }
  used_ = true;
  auto next = posted.begin();
  try {
    while (next != posted.end()) begin(std::move(*next++));
  } catch (...) {
    // Those behind it are told with all others why they cannot be.
    const std::lock_guard lock(posted_mutex_);
    posted_.insert(posted_.begin(), next, posted.end());
    throw;
  }
  return true;
}

void Transfers::begin(std::shared_ptr<State> transfer) {
  if (!death_.empty()) {
    fail(transfer, ErrorCode::peer_failed, "this communicator is dead: " + death_);
  } else if (transfer->kind == State::Kind::send) {
    begin_send(std::move(transfer));
  } else {
    begin_receive(std::move(transfer));
  }
}

void Transfers::begin_send(std::shared_ptr<State> transfer) {
  const State& state = *transfer;
  Sending& sending = sends_.emplace_back(
      Sending{std::move(transfer), state.number, 0, false, UnderWay(transport_)});
  const bool whole = state.size <= kLongestWhole;
  Header header;
  header.kind = whole ? Kind::whole : Kind::offer;
  header.tag = state.tag;
  header.id = sending.id;
  header.size = state.size;
  // Its answer comes from there.
  if (!whole) transport_.expect(state.peer, channel_);
  say(sending.under_way, state.peer, header, {state.data, whole ? state.size : 0});
  if (!whole) return;
  sending.sent = state.size;
  sending.accepted = true;
}

void Transfers::begin_receive(std::shared_ptr<State> transfer) {
  const auto fits = [&](const Unexpected& message) {
    return message.tag == transfer->tag &&
           (transfer->peer == kAnyRank || transfer->peer == message.peer);
  };
  const auto found = std::ranges::find_if(unexpected_, fits);
  if (found == unexpected_.end()) {
    receives_.push_back(std::move(transfer));
    return;
  }
  Unexpected message = std::move(*found);
  unexpected_.erase(found);
  join(*transfer, transfer, message);
}

bool Transfers::take_arrivals(int peer) {
  bool moved = false;
  transport::Arrival arrival;
  while (transport_.take(peer, channel_, arrival)) {
    moved = used_ = true;
    try {
      handle(peer, {arrival.data, arrival.size});
    } catch (...) {
      transport_.release(arrival);
      throw;
    }
    transport_.release(arrival);
  }
  return moved;
}

void Transfers::handle(int peer, std::span<const std::byte> message) {
  Header header;
  if (message.size() < sizeof header) {
    throw Error(ErrorCode::mismatch,
                fmt::format("rank {} sent {} bytes that are no message", peer, message.size()));
  }
  std::memcpy(&header, message.data(), sizeof header);
  if (header.magic != kTransferMagic || header.version != wire_version) {
    throw Error(ErrorCode::mismatch,
                fmt::format("rank {} sends messages of another version of the library", peer));
  }
  const auto body = message.subspan(sizeof header);
  const auto mine = std::ranges::find_if(sends_, [&](const Sending& sending) {
    return sending.id == header.id && sending.state->peer == peer;
  });
  switch (header.kind) {
    case Kind::whole:
      return meet({peer, header.tag, header.size, header.id, true, {body.begin(), body.end()}});
    case Kind::offer:
      return meet({peer, header.tag, header.size, header.id, false, {}});
    case Kind::piece:
      return take_piece(peer, header, body);
    case Kind::accept:
      if (mine != sends_.end()) mine->accepted = true;
      return;
    case Kind::decline:
      if (mine == sends_.end()) return;
      fail(mine->state, ErrorCode::mismatch,
           fmt::format("the receiver has room for {} bytes, not {}", header.size,
                       mine->state->size));
      answers_.adopt(mine->under_way);
      sends_.erase(mine);
      return;
    case Kind::gone:
      gone_[peer] =
          fmt::format("rank {} gave up: {}", peer,
                      std::string_view(reinterpret_cast<const char*>(body.data()), body.size()));
      return;
  }
}

void Transfers::meet(Unexpected message) {
  const auto fits = [&](const std::shared_ptr<State>& receive) {
    return receive->tag == message.tag &&
           (receive->peer == kAnyRank || receive->peer == message.peer);
  };
  const auto found = std::ranges::find_if(receives_, fits);
  if (found == receives_.end()) {
    unexpected_.push_back(std::move(message));
    return;
  }
  const std::shared_ptr<State> receive = *found;
  receives_.erase(found);
  join(*receive, receive, message);
}

/// A receive has met its message.
void Transfers::join(State& receive, const std::shared_ptr<State>& shared, Unexpected& message) {
  const bool fits = receive.size == message.size;
  if (!fits) {
    fail(shared, ErrorCode::mismatch,
         fmt::format("rank {} has sent {} bytes; there is room for {}", message.peer, message.size,
                     receive.size));
  } else if (message.whole) {
    std::ranges::copy(message.bytes, receive.data);
    finish(shared, message.peer);
  } else {
    arriving_.emplace(std::pair(message.peer, message.id), Receiving{shared});
  }
  // Last: should it fail, the receive is known to those who end all.
  if (!message.whole) answer(message.peer, message.id, fits, receive.size);
}

void Transfers::take_piece(int peer, const Header& header, std::span<const std::byte> body) {
  const auto found = arriving_.find({peer, header.id});
  if (found == arriving_.end()) return;  // of a receive that has failed
  Receiving& receiving = found->second;
  if (body.size() > receiving.state->size - receiving.received) {
    throw Error(ErrorCode::mismatch, fmt::format("rank {} sends more than it has offered", peer));
  }
  std::ranges::copy(body, receiving.state->data + receiving.received);
  receiving.received += body.size();
  if (receiving.received != receiving.state->size) return;
  finish(receiving.state, peer);
  arriving_.erase(found);
}

void Transfers::answer(int peer, std::uint64_t id, bool accepted, std::uint64_t size) {
  Header header;
  header.kind = accepted ? Kind::accept : Kind::decline;
  header.id = id;
  header.size = size;
  if (accepted) transport_.expect(peer, channel_);
  say(answers_, peer, header, {});
}

void Transfers::say(UnderWay& under_way, int peer, const Header& header,
                    std::span<const std::byte> body) {
  std::vector<std::byte> message(sizeof header + body.size());
  std::memcpy(message.data(), &header, sizeof header);
  std::ranges::copy(body, message.data() + sizeof header);
  bytes_sent_ += message.size();
  under_way.send(peer, channel_, std::move(message));
}

/// Sends the next pieces of a message; whether anything happened.
bool Transfers::push(Sending& sending) {
  if (!sending.accepted || !sending.under_way.empty()) return false;
  const State& state = *sending.state;
  for (std::size_t i = 0; i < kPieces && sending.sent < state.size; ++i) {
    Header header;
    header.kind = Kind::piece;
    header.id = sending.id;
    header.size = state.size;
    const std::size_t bytes = std::min(kLongestPiece, state.size - sending.sent);
    say(sending.under_way, state.peer, header, {state.data + sending.sent, bytes});
    sending.sent += bytes;
  }
  return true;
}

bool Transfers::push_all() {
  bool moved = false;
  for (auto sending = sends_.begin(); sending != sends_.end();) {
    const bool was_all = sending->sent == sending->state->size;
    const bool pushed = push(*sending);
    moved = moved || pushed;
    if (pushed && was_all) {
      finish(sending->state, sending->state->peer);
      sending = sends_.erase(sending);
    } else {
      ++sending;
    }
  }
  return moved;
}

void Transfers::look_for_trouble() {
  // What a peer sent before its end comes first.
  for (int peer = 0; peer < transport_.size(); ++peer) {
    if (peer != transport_.rank() && end_of(peer)) take_arrivals(peer);
  }
  for (const Sending& sending : sends_) check_awaited(*sending.state);
  for (const auto& receive : receives_) check_awaited(*receive);
  for (const auto& [from, receiving] : arriving_) check_awaited(*receiving.state);
}

/// @throws Error timeout, peer_failed when waiting has become useless
void Transfers::check_awaited(const State& transfer) {
  if (Clock::now() > transfer.deadline) {
    throw Error(ErrorCode::timeout, transfer.describe() + " did not end within its timeout");
  }
  if (transfer.peer == kAnyRank) return;
  if (const auto why = end_of(transfer.peer)) {
    throw Error(ErrorCode::peer_failed, transfer.describe() + ": " + *why);
  }
}

std::optional<std::string> Transfers::end_of(int peer) const {
  const auto gone = gone_.find(peer);
  if (gone != gone_.end()) return gone->second;
  return transport_.end_of(peer);
}

void Transfers::die(const Error& error) noexcept {
  if (death_.empty()) {
    death_ = error.what();
    say_gone(error);
  }
  end_all(error);
}

/// A network need not notice that a process has ended, which ended because of another one's end.
void Transfers::say_gone(const Error& error) noexcept {
  used_ = true;
  Header header;
  header.kind = Kind::gone;
  const std::string reason = std::string(error.what()).substr(0, kLongestReason);
  for (int peer = 0; peer < transport_.size(); ++peer) {
    if (peer == transport_.rank() || end_of(peer)) continue;
    try {
      say(answers_, peer, header, std::as_bytes(std::span(reason)));
    } catch (const Error&) {
      continue;  // who cannot be told finds out by the deadline
    }
  }
}

void Transfers::end_all(const Error& error) noexcept {
  const auto give_up = [&](const std::shared_ptr<State>& transfer) {
    end(transfer, kAnyRank, &error);
  };
  std::vector<std::shared_ptr<State>> posted;
  {
    const std::lock_guard lock(posted_mutex_);
    posted.swap(posted_);
  }
  std::ranges::for_each(posted, give_up);
  for (Sending& sending : sends_) {
    give_up(sending.state);
    answers_.adopt(sending.under_way);
  }
  sends_.clear();
  std::ranges::for_each(receives_, give_up);
  receives_.clear();
  for (const auto& [from, receiving] : arriving_) give_up(receiving.state);
  arriving_.clear();
  unexpected_.clear();
}

}  // namespace cpdcomm::collective
