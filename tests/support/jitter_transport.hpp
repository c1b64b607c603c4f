#pragma once

#include <memory>
#include <vector>

#include "cpdcomm/communicator.hpp"
#include "support/random.hpp"
#include "support/wrapped_transport.hpp"
#include "transport/threads.hpp"

namespace cpdcomm::testing {

/// A network on which everything takes a random time: what is done is found done late.
class JitterTransport final : public WrappedTransport {
 public:
  JitterTransport(std::unique_ptr<Transport> inner, unsigned seed)
      : WrappedTransport(std::move(inner)), random_(seed) {}

  bool done(transport::Request request) override {
    return random_.below(3) == 0 && WrappedTransport::done(request);
  }
  bool take(int peer, int channel, transport::Arrival& arrival) override {
    return random_.below(3) == 0 && WrappedTransport::take(peer, channel, arrival);
  }

 private:
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
