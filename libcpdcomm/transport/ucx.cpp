#include "cpdcomm/ucx.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "transport/hosts.hpp"
#include "transport/module.hpp"
#include "transport/transport.hpp"
#include "transport/ucx/inbox.hpp"
#include "transport/ucx/peers.hpp"
#include "transport/ucx/worker.hpp"

namespace cpdcomm::transport {
namespace {

class UcxTransport final : public Transport {
 public:
  /// @param wanted  by rank: which are reached over UCX
  UcxTransport(Bootstrap& bootstrap, const std::vector<bool>& wanted, bool report_failures,
               std::chrono::milliseconds timeout)
      : worker_(report_failures ? ucx::UcxMemory::none : ucx::UcxMemory::shared),
        peers_(worker_, bootstrap, wanted, report_failures, timeout),
        inboxes_(static_cast<std::size_t>(peers_.size())) {}
  ~UcxTransport() override {
    for (auto& channels : inboxes_) {
      for (auto& inbox : channels) {
        if (inbox) inbox->cancel();
      }
    }
  }

  int rank() const override { return peers_.rank(); }
  int size() const override { return peers_.size(); }
  std::string_view name() const override { return "ucx"; }

  bool done(Request request) override {
    Sent& sent = sends_[request];
    const ucs_status_t status =
        sent.request == nullptr ? UCS_OK : ucp_request_check_status(sent.request);
    if (status == UCS_INPROGRESS) return false;
    // Freed once, though whoever is told of a failure will ask again.
    if (sent.request != nullptr) ucp_request_free(std::exchange(sent.request, nullptr));
    require(status, sent.peer);
    free_.push_back(request);
    return true;
  }

  void expect(int peer, int channel) override { inbox(peer, channel); }

  bool take(int peer, int channel, Arrival& arrival) override {
    return inbox(peer, channel).take(arrival);
  }
  void release(const Arrival& arrival) override {
    pool_.give(const_cast<std::byte*>(arrival.data));  // of the pool, whose memory may be written
  }

  void progress() override { worker_.progress(); }
  std::optional<std::string> end_of(int peer) override { return peers_.end_of(peer); }

  bool sends_wait_for_peers() const override { return true; }
  void keep_address() override {}  // no two workers have the same
  void abandon() override { peers_.abandon(); }

 private:
  struct Sent {
    void* request = nullptr;  // none when it was done at once
    int peer = 0;
  };

  Request start_send(int peer, int channel, std::span<const std::byte> bytes) override {
    if (peers_.has_ended(peer)) return add({});
    const ucp_request_param_t param{};
    void* const request = ucp_tag_send_nbx(peers_.endpoint(peer), bytes.data(), bytes.size(),
                                           ucx::message_tag(channel, rank()), &param);
    if (!UCS_PTR_IS_ERR(request)) return add({request, peer});
    require(UCS_PTR_STATUS(request), peer);
    return add({});
  }

  Request add(const Sent& sent) {
    if (free_.empty()) {
      sends_.push_back(sent);
      return static_cast<Request>(sends_.size() - 1);
    }
    const Request request = free_.back();
    free_.pop_back();
    sends_[request] = sent;
    return request;
  }

  ucx::Inbox& inbox(int peer, int channel) {
    auto& channels = inboxes_[static_cast<std::size_t>(peer)];
    const auto place = static_cast<std::size_t>(channel);
    if (place >= channels.size()) channels.resize(place + 1);
    if (!channels[place]) {
      channels[place] =
          std::make_unique<ucx::Inbox>(worker_.get(), pool_, ucx::message_tag(channel, peer));
    }
    return *channels[place];
  }

  /// @throws Error peer_failed when a message was not sent though its receiver is there
  void require(ucs_status_t status, int peer) const {
    if (status == UCS_OK || peers_.has_ended(peer)) return;
    throw Error(ErrorCode::peer_failed, fmt::format("a message to rank {} was not sent (UCX: {})",
                                                    peer, ucs_status_string(status)));
  }

  // In this order: the pool's memory outlives the worker that writes to it.
  ucx::Pool pool_;
  ucx::Worker worker_;
  ucx::Peers peers_;
  std::vector<std::vector<std::unique_ptr<ucx::Inbox>>> inboxes_;  // by peer and channel
  std::vector<Sent> sends_;                                        // by request
  std::vector<Request> free_;
};

/// Stands for UCX where shared memory reaches every rank: to start it would cost descriptors, and
/// threads and memory of UCX's own, for each communicator.
class NoNetwork final : public Transport {
 public:
  explicit NoNetwork(const Bootstrap& bootstrap)
      : rank_(bootstrap.rank()), size_(bootstrap.size()) {}

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string_view name() const override { return "ucx"; }
  bool done(Request) override { return true; }
  void expect(int, int) override {}
  bool take(int, int, Arrival&) override { return false; }
  void release(const Arrival&) override {}
  void progress() override {}
  bool sends_wait_for_peers() const override { return false; }
  void keep_address() override {}
  void abandon() override {}

 private:
  Request start_send(int peer, int, std::span<const std::byte>) override {
    throw Error(ErrorCode::invalid_argument, fmt::format("rank {} is not reached over UCX", peer));
  }

  int rank_;
  int size_;
};

std::unique_ptr<Transport> open_ucx(Bootstrap& bootstrap, const CommunicatorOptions& options,
                                    const UcxOptions& ucx) {
  const auto open = [&](const std::vector<bool>& beyond) -> std::unique_ptr<Transport> {
    if (std::ranges::none_of(beyond, std::identity{})) {
      return std::make_unique<NoNetwork>(bootstrap);
    }
    return std::make_unique<UcxTransport>(bootstrap, beyond, ucx.report_failures, options.timeout);
  };
  return with_shared_memory(open, bootstrap, options.shared_memory);
}

}  // namespace
}  // namespace cpdcomm::transport

namespace cpdcomm {

Communicator make_ucx_communicator(Bootstrap& bootstrap, const CommunicatorOptions& options,
                                   const UcxOptions& ucx) {
  return Communicator(transport::open_ucx(bootstrap, options, ucx), options);
}

}  // namespace cpdcomm

extern "C" CPDCOMM_API cpdcomm::transport::Transport* cpdcomm_transport_connect(
    cpdcomm::Bootstrap& bootstrap, const cpdcomm::CommunicatorOptions& options) {
  return cpdcomm::transport::open_ucx(bootstrap, options, {}).release();
}
