#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "cpdcomm/bootstrap.hpp"
#include "transport/ucx/worker.hpp"

namespace cpdcomm::transport::ucx {

/// What messages are told apart by: the channel and the sender.
ucp_tag_t message_tag(int channel, int sender);

/// The ranks that a worker is connected to, and what is known of their fate.
///
/// Each sends each a greeting when it has come, says that it is ready when it has heard all others,
/// and good-bye before it goes: a connection that breaks after that is no failure.
class Peers {
 public:
  /// Connects to some ranks, which connect to this one, and waits for their greetings. All ranks of
  /// the bootstrap call.
  /// @param wanted  by rank
  /// @throws Error peer_failed, timeout, unsupported
  Peers(const Worker& worker, Bootstrap& bootstrap, const std::vector<bool>& wanted,
        bool report_failures, std::chrono::milliseconds timeout);
  Peers(const Peers&) = delete;
  ~Peers() { close(); }

  int rank() const { return rank_; }
  int size() const { return static_cast<int>(all_.size()); }
  ucp_ep_h endpoint(int peer) const { return all_[static_cast<std::size_t>(peer)].endpoint; }

  /// Whether a peer has said good-bye, or the way to it has broken before that.
  bool has_ended(int peer) const {
    const Peer& one = all_[static_cast<std::size_t>(peer)];
    return one.failure != UCS_OK || one.has_left();
  }
  /// Which of the two, in words.
  std::optional<std::string> end_of(int peer) const;

  /// The peers are not waited for any more, nor told that this rank goes in peace.
  void abandon() { abandoned_ = true; }

 private:
  struct Peer {
    Peers* all = nullptr;
    ucp_ep_h endpoint = nullptr;
    ucs_status_t failure = UCS_OK;
    void* greeting = nullptr;  // the receives of its three words
    void* ready = nullptr;
    void* good_bye = nullptr;

    bool has_left() const {
      return good_bye != nullptr && ucp_request_check_status(good_bye) == UCS_OK;
    }
  };

  static void on_failure(void* argument, ucp_ep_h endpoint, ucs_status_t status);
  int number(const Peer& peer) const { return static_cast<int>(&peer - all_.data()); }
  void connect(Bootstrap& bootstrap, const std::vector<bool>& wanted);
  void greet(std::chrono::milliseconds timeout);
  void wait_for(void* Peer::*word, std::chrono::steady_clock::time_point deadline) const;
  void say(ucp_tag_t word) const;
  void* hear(const Peer& peer, ucp_tag_t word) const;
  void close();
  void* start_closing(const Peer& peer) const;

  const Worker& worker_;
  int rank_;
  std::vector<Peer> all_;  // of one size, for UCX knows their addresses
  bool report_failures_;
  bool abandoned_ = false;
  int first_failed_ = -1;
};

}  // namespace cpdcomm::transport::ucx
