#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "collective/transfer.hpp"
#include "collective/under_way.hpp"
#include "transport/transport.hpp"

namespace cpdcomm::collective {

/// Messages between pairs of ranks, beside the calls that all make together, on a channel of their
/// own. A short message travels at once; a long one is offered, and its bytes follow when its
/// receiver has a place for them, so that no rank keeps what it has not asked for.
///
/// A receive takes the first message that fits, in the order of the sends; receives that fit the
/// same message take it in their own order.
class Transfers {
 public:
  using State = Transfer::State;

  Transfers(transport::Transport& transport, int channel);
  ~Transfers();
  Transfers(const Transfers&) = delete;

  /// From any thread. What is wrong with it, it says itself.
  void post(std::shared_ptr<State> transfer);
  std::uint64_t next_number() { return ++numbers_; }

  /// Whether transfers wait to be carried on. From any thread.
  bool wanted() const { return unfinished_.load(std::memory_order_acquire) != 0; }

  /// Whether transfers have ended that someone wants to be told of. From any thread.
  bool has_news() const { return news_.load(std::memory_order_relaxed) != 0; }
  /// Tells them, without any lock of ours.
  void tell_news();

  /// All bytes that transfers have sent.
  std::uint64_t bytes_sent() const { return bytes_sent_; }

  /// Carries on what can be, with the transport to itself; progress() is the caller's. Never
  /// throws: what fails, fails for those who wait for it.
  /// @return whether anything happened
  bool advance() noexcept;

  /// Why no transfer can be made any more; empty as long as they can.
  const std::string& death() const { return death_; }
  /// Ends all transfers and all later ones, and tells the peers, who would wait in vain.
  void die(const Error& error) noexcept;
  /// Why nothing more comes from a peer, if it has said so or the network has found out.
  std::optional<std::string> end_of(int peer) const;
  /// The same, from any thread, when they are carried on next.
  void abort() { aborted_ = true; }

 private:
  enum class Kind : std::uint8_t { whole, offer, accept, decline, piece, gone };
  struct Header;
  struct Sending {
    std::shared_ptr<State> state;
    std::uint64_t id;
    std::size_t sent = 0;
    bool accepted = false;
    UnderWay under_way;
  };
  struct Receiving {
    std::shared_ptr<State> state;
    std::size_t received = 0;
  };
  /// A message that nobody has asked for yet: a short one itself, or the offer of a long one.
  struct Unexpected {
    int peer;
    std::uint32_t tag;
    std::uint64_t size;
    std::uint64_t id;
    bool whole;
    std::vector<std::byte> bytes;
  };

  bool finish_sends();
  bool take_posted();
  void begin(std::shared_ptr<State> transfer);
  void begin_send(std::shared_ptr<State> transfer);
  void begin_receive(std::shared_ptr<State> transfer);
  bool take_arrivals(int peer);
  void handle(int peer, std::span<const std::byte> message);
  void meet(Unexpected message);
  void join(State& receive, const std::shared_ptr<State>& shared, Unexpected& message);
  void take_piece(int peer, const Header& header, std::span<const std::byte> body);
  void answer(int peer, std::uint64_t id, bool accepted, std::uint64_t size);
  bool push(Sending& sending);
  bool push_all();
  void look_for_trouble();
  void check_awaited(const State& transfer);
  void say(UnderWay& under_way, int peer, const Header& header, std::span<const std::byte> body);
  void end(const std::shared_ptr<State>& transfer, int peer, const Error* error);
  void end_all(const Error& error) noexcept;
  void say_gone(const Error& error) noexcept;
  void finish(const std::shared_ptr<State>& transfer, int peer);
  void fail(const std::shared_ptr<State>& transfer, ErrorCode code, const std::string& why);

  transport::Transport& transport_;
  const int channel_;
  std::atomic<std::uint64_t> numbers_{0};
  std::atomic<std::size_t> unfinished_{0};
  std::atomic<bool> aborted_{false};
  std::atomic<std::size_t> news_{0};
  std::mutex posted_mutex_;
  std::vector<std::shared_ptr<State>> posted_;
  std::vector<std::shared_ptr<State>> ended_;  // with a callback
  // The rest is for whoever has the transport.
  std::list<Sending> sends_;
  std::deque<std::shared_ptr<State>> receives_;  // that no message has met
  std::map<std::pair<int, std::uint64_t>, Receiving> arriving_;
  std::deque<Unexpected> unexpected_;  // in the order of their arrival
  std::map<int, std::string> gone_;    // peers that have said so, and why
  UnderWay answers_;
  std::uint64_t bytes_sent_ = 0;
  bool used_ = false;
  unsigned idle_ = 0;
  std::string death_;
};

}  // namespace cpdcomm::collective
