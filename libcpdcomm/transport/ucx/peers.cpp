#include "transport/ucx/peers.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "transport/transport.hpp"

namespace cpdcomm::transport::ucx {
namespace {

using Clock = std::chrono::steady_clock;

constexpr ucp_tag_t kGreeting = ucp_tag_t{1} << 63;
constexpr ucp_tag_t kReady = ucp_tag_t{1} << 62;
constexpr ucp_tag_t kGoodBye = ucp_tag_t{1} << 61;
constexpr std::chrono::milliseconds kForEver = std::chrono::hours(24 * 365);  // no overflow
constexpr auto kLongestClosing = std::chrono::seconds(2);

/// Whether a request of UCX, or the answer given in its place, is still under way.
bool under_way(void* request) {
  return UCS_PTR_IS_PTR(request) && ucp_request_check_status(request) == UCS_INPROGRESS;
}

void free_request(void* request) {
  if (UCS_PTR_IS_PTR(request)) ucp_request_free(request);
}

}  // namespace

ucp_tag_t message_tag(int channel, int sender) {
  return static_cast<ucp_tag_t>(channel) << 32 | static_cast<std::uint32_t>(sender);
}

Peers::Peers(const Worker& worker, Bootstrap& bootstrap, const std::vector<bool>& wanted,
             bool report_failures, std::chrono::milliseconds timeout)
    : worker_(worker),
      rank_(bootstrap.rank()),
      all_(static_cast<std::size_t>(bootstrap.size())),
      report_failures_(report_failures) {
  try {
    connect(bootstrap, wanted);
    greet(timeout);
  } catch (...) {
    abandon();
    close();
    throw;
  }
}

void Peers::connect(Bootstrap& bootstrap, const std::vector<bool>& wanted) {
  const auto addresses = bootstrap.allgather(worker_.address());
  for (Peer& peer : all_) {
    peer.all = this;
    if (!wanted[static_cast<std::size_t>(number(peer))]) continue;
    peer.endpoint = worker_.connect(addresses[static_cast<std::size_t>(number(peer))],
                                    report_failures_ ? &Peers::on_failure : nullptr, &peer);
    peer.greeting = hear(peer, kGreeting);
    peer.ready = hear(peer, kReady);
    peer.good_bye = hear(peer, kGoodBye);
  }
}

/// UCX connects at the first message, with the help of both sides: made here, a later message finds
/// the way open even where its receiver is busy with something else.
void Peers::greet(std::chrono::milliseconds timeout) {
  const auto deadline = Clock::now() + std::min(timeout, kForEver);
  say(kGreeting);
  wait_for(&Peer::greeting, deadline);
  say(kReady);
  wait_for(&Peer::ready, deadline);
}

void Peers::wait_for(void* Peer::*word, Clock::time_point deadline) const {
  for (const Peer& peer : all_) {
    while (under_way(peer.*word)) {
      worker_.progress();
      if (first_failed_ >= 0) throw Error(ErrorCode::peer_failed, *end_of(first_failed_));
      if (Clock::now() > deadline) {
        throw Error(ErrorCode::timeout,
                    fmt::format("rank {} did not answer over UCX in time", number(peer)));
      }
      std::this_thread::yield();
    }
  }
}

/// To all. A word that is lost is missed by its receiver.
void Peers::say(ucp_tag_t word) const {
  const ucp_request_param_t param{};
  for (const Peer& peer : all_) {
    if (peer.endpoint == nullptr) continue;
    free_request(ucp_tag_send_nbx(peer.endpoint, nullptr, 0, word | message_tag(0, rank_), &param));
  }
}

void* Peers::hear(const Peer& peer, ucp_tag_t word) const {
  constexpr ucp_tag_t kWholeTag = ~ucp_tag_t{0};
  ucp_request_param_t param{};
  param.op_attr_mask = UCP_OP_ATTR_FLAG_NO_IMM_CMPL;
  void* const request = ucp_tag_recv_nbx(worker_.get(), nullptr, 0,
                                         word | message_tag(0, number(peer)), kWholeTag, &param);
  if (UCS_PTR_IS_ERR(request)) check(UCS_PTR_STATUS(request), "UCX takes no receive");
  return request;
}

void Peers::on_failure(void* argument, ucp_ep_h /*endpoint*/, ucs_status_t status) {
  Peer& peer = *static_cast<Peer*>(argument);
  if (peer.has_left()) return;
  peer.failure = status;
  Peers& all = *peer.all;
  if (all.first_failed_ < 0) all.first_failed_ = all.number(peer);
}

std::optional<std::string> Peers::end_of(int peer) const {
  if (!has_ended(peer)) return std::nullopt;
  const ucs_status_t failure = all_[static_cast<std::size_t>(peer)].failure;
  if (failure == UCS_OK) return transport::has_left(peer);
  return fmt::format("rank {} is gone (UCX: {})", peer, ucs_status_string(failure));
}

void Peers::close() {
  worker_.progress();  // who has said good-bye?
  if (!abandoned_) say(kGoodBye);
  std::vector<void*> closing;
  for (const Peer& peer : all_) {
    if (peer.endpoint != nullptr) closing.push_back(start_closing(peer));
  }
  const auto deadline = Clock::now() + kLongestClosing;
  const auto all_closed = [&] { return std::none_of(closing.begin(), closing.end(), under_way); };
  while (!abandoned_ && !all_closed() && Clock::now() < deadline) {
    worker_.progress();
    std::this_thread::yield();
  }
  // What is left ends with the worker.
  for (void* const request : closing) free_request(request);
  for (const Peer& peer : all_) {
    for (void* const request : {peer.greeting, peer.ready, peer.good_bye}) {
      if (under_way(request)) ucp_request_cancel(worker_.get(), request);
      free_request(request);
    }
  }
}

/// UCX waits until the peer's UCX has everything (over TCP, too), unless the peer is gone or nobody
/// is to be waited for.
void* Peers::start_closing(const Peer& peer) const {
  const bool force = abandoned_ || peer.failure != UCS_OK || peer.has_left();
  if (force && !report_failures_) return nullptr;  // UCX then only ends it with the worker
  ucp_request_param_t param{};
  if (force) {
    param.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
    param.flags = UCP_EP_CLOSE_FLAG_FORCE;
  }
  return ucp_ep_close_nbx(peer.endpoint, &param);
}

}  // namespace cpdcomm::transport::ucx
