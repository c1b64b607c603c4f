#pragma once

#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "support/local_bootstrap.hpp"
#include "support/ranks.hpp"
#include "transport/hosts.hpp"
#include "transport/threads.hpp"

namespace cpdcomm::testing {

/// Communicators of `hosts` times `ranks_on_host` ranks that share memory inside their host.
inline Ranks make_sharing_ranks(int hosts, int ranks_on_host, const CommunicatorOptions& options) {
  const int ranks = hosts * ranks_on_host;
  auto networks = transport::make_thread_transports(ranks);
  std::vector<std::unique_ptr<MeetingPlace>> places;
  for (int host = 0; host < hosts; ++host) {
    places.push_back(std::make_unique<MeetingPlace>(ranks_on_host));
  }
  PerRank<std::unique_ptr<transport::Hosts>> transports(networks.size());
  std::vector<std::thread> threads;
  for (int rank = 0; rank < ranks; ++rank) {
    threads.emplace_back([&, rank] {
      const auto i = static_cast<std::size_t>(rank);
      MeetingPlace& place = *places[static_cast<std::size_t>(rank / ranks_on_host)];
      LocalBootstrap bootstrap(place, rank % ranks_on_host);
      transport::Neighbourhood found = transport::meet_neighbours(bootstrap, true);
      EXPECT_NE(found.memory, nullptr) << found.reason;
      found.hosts.host_of.clear();
      for (int peer = 0; peer < ranks; ++peer) {
        found.hosts.host_of.push_back(peer / ranks_on_host);
      }
      transports[i] = std::make_unique<transport::Hosts>(std::move(networks[i]), std::move(found));
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::vector<Communicator> communicators;
  for (auto& transport : transports) communicators.emplace_back(std::move(transport), options);
  return Ranks(std::move(communicators));
}

}  // namespace cpdcomm::testing
