#pragma once

#include <memory>
#include <vector>

#include "cpdcomm/communicator.hpp"
#include "support/random.hpp"
#include "transport/threads.hpp"

namespace cpdcomm::testing {

/// A network on which everything takes a random time: what is done is found done late. Counts the
/// bytes that pass through it.
class JitterTransport final : public transport::Transport {
 public:
  JitterTransport(std::unique_ptr<Transport> inner, unsigned seed)
      : inner_(std::move(inner)), random_(seed) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  transport::Request receive(int peer, int channel, std::span<std::byte> room) override {
    return inner_->receive(peer, channel, room);
  }
  bool done(transport::Request request) override {
    return random_.below(3) == 0 && inner_->done(request);
  }
  bool cancel(transport::Request request) override { return inner_->cancel(request); }
  bool sends_wait_for_peers() const override { return inner_->sends_wait_for_peers(); }
  void keep_address() override { inner_->keep_address(); }
  void abandon() override { inner_->abandon(); }

 private:
  transport::Request start_send(int peer, int channel, std::span<const std::byte> bytes) override {
    return inner_->send(peer, channel, bytes);
  }

  std::unique_ptr<Transport> inner_;
  Random random_;
};

/// Thread ranks on such a network.
inline std::vector<Communicator> make_jitter_communicators(int ranks, unsigned seed,
                                                           const CommunicatorOptions& options) {
  std::vector<Communicator> communicators;
  for (auto& transport : transport::make_thread_transports(ranks)) {
    auto jitter = std::make_unique<JitterTransport>(std::move(transport), seed++);
    communicators.emplace_back(std::move(jitter), options);
  }
  return communicators;
}

}  // namespace cpdcomm::testing
