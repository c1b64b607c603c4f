#include "transport/hosts.hpp"

#include <fmt/format.h>

#include <cstdio>
#include <utility>

#include "environment.hpp"

namespace cpdcomm::transport {
namespace {

// What is shared memory's is marked so.
constexpr Request kLocalRequest = Request{1} << 31;
constexpr std::uint64_t kLocalToken = std::uint64_t{1} << 63;

// To look at a network costs system calls; while nobody waits for it, once in so many rounds will
// do for what its peers need.
constexpr unsigned kRoundsPerLook = 64;

}  // namespace

Hosts::Hosts(std::unique_ptr<Transport> network, Neighbourhood neighbourhood)
    : network_(std::move(network)),
      memory_(std::move(neighbourhood.memory)),
      host_of_(std::move(neighbourhood.hosts.host_of)),
      local_of_(host_of_.size(), kAcross) {
  if (!memory_) return;
  int next = 0;
  for (int peer = 0; peer < size(); ++peer) {
    if (host_of(peer) == host_of(rank())) local_of_[static_cast<std::size_t>(peer)] = next++;
  }
}

std::byte* Hosts::allocate(std::size_t bytes) {
  std::byte* const memory = memory_ ? memory_->allocate(bytes) : nullptr;
  return memory != nullptr ? memory : network_->allocate(bytes);
}

Request Hosts::start_send(int peer, int channel, std::span<const std::byte> bytes) {
  const int local = local_of(peer);
  if (local != kAcross) return memory_->send(local, channel, bytes) | kLocalRequest;
  network_awaited_ = true;
  return network_->send(peer, channel, bytes);
}

bool Hosts::done(Request request) {
  if ((request & kLocalRequest) != 0) return memory_->done(request & ~kLocalRequest);
  const bool done = network_->done(request);
  if (!done) network_awaited_ = true;
  return done;
}

bool Hosts::outlives_rank(Request request) const {
  if ((request & kLocalRequest) != 0) return memory_->outlives_rank(request & ~kLocalRequest);
  return network_->outlives_rank(request);
}

void Hosts::expect(int peer, int channel) {
  if (local_of(peer) == kAcross) network_->expect(peer, channel);
}

bool Hosts::take(int peer, int channel, Arrival& arrival) {
  const int local = local_of(peer);
  if (local != kAcross) {
    if (!memory_->take(local, channel, arrival)) return false;
    arrival.token |= kLocalToken;
    return true;
  }
  if (network_->take(peer, channel, arrival)) return true;
  network_awaited_ = true;
  return false;
}

void Hosts::release(const Arrival& arrival) {
  if ((arrival.token & kLocalToken) == 0) {
    network_->release(arrival);
    return;
  }
  memory_->release({arrival.data, arrival.size, arrival.token & ~kLocalToken});
}

void Hosts::progress() {
  if (memory_) memory_->progress();
  if (!network_awaited_ && ++rounds_ < kRoundsPerLook) return;
  network_awaited_ = false;
  rounds_ = 0;
  network_->progress();
}

std::optional<std::string> Hosts::end_of(int peer) {
  const int local = local_of(peer);
  return local != kAcross ? memory_->end_of(local) : network_->end_of(peer);
}

bool Hosts::sends_wait_for_peers() const {
  return network_->sends_wait_for_peers() || (memory_ && memory_->sends_wait_for_peers());
}

void Hosts::keep_address() {
  network_->keep_address();
  if (memory_) memory_->keep_address();
}

void Hosts::abandon() {
  network_->abandon();
  if (memory_) memory_->abandon();
}

std::unique_ptr<Transport> with_shared_memory(const OpenNetwork& open, Bootstrap& bootstrap,
                                              bool wanted) {
  const bool allowed = wanted && environment().shared_memory;
  Neighbourhood found = meet_neighbours(bootstrap, allowed);
  const int hosts = found.hosts.count();
  if (bootstrap.rank() == 0 && environment().debug) {
    fmt::print(stderr, "cpdcomm: {} ranks on {} hosts{}\n", bootstrap.size(), hosts,
               found.reason.empty() ? "" : "; not all share memory: " + found.reason);
  }
  auto network = open(found.beyond(bootstrap.rank()));
  if (hosts == bootstrap.size()) return network;
  return std::make_unique<Hosts>(std::move(network), std::move(found));
}

std::unique_ptr<Transport> with_shared_memory(std::unique_ptr<Transport> network,
                                              Bootstrap& bootstrap, bool wanted) {
  return with_shared_memory([&](const std::vector<bool>&) { return std::move(network); }, bootstrap,
                            wanted);
}

}  // namespace cpdcomm::transport
