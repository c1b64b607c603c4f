#pragma once

#include <memory>
#include <vector>

#include "cpdcomm/communicator.hpp"
#include "support/wrapped_transport.hpp"
#include "transport/threads.hpp"

namespace cpdcomm::testing {

/// Says of every rank which host it is on, whatever carries the messages.
class HostsTransport final : public WrappedTransport {
 public:
  HostsTransport(std::unique_ptr<Transport> inner, std::vector<int> hosts)
      : WrappedTransport(std::move(inner)), hosts_(std::move(hosts)) {}

  int host_of(int rank) const override { return hosts_[static_cast<std::size_t>(rank)]; }

 private:
  std::vector<int> hosts_;
};

/// Thread ranks on hosts: hosts[rank], numbered in the order of their first ranks.
inline std::vector<Communicator> make_host_communicators(const std::vector<int>& hosts,
                                                         const CommunicatorOptions& options) {
  std::vector<Communicator> communicators;
  for (auto& transport : transport::make_thread_transports(static_cast<int>(hosts.size()))) {
    communicators.emplace_back(std::make_unique<HostsTransport>(std::move(transport), hosts),
                               options);
  }
  return communicators;
}

}  // namespace cpdcomm::testing
