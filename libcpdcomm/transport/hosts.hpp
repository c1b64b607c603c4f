#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "cpdcomm/export.hpp"
#include "transport/bootstrap.hpp"
#include "transport/neighbours.hpp"
#include "transport/shared_memory.hpp"
#include "transport/transport.hpp"

namespace cpdcomm::transport {

/// Shared memory between the ranks of a host, a network between hosts.
class Hosts final : public Transport {
 public:
  /// @param network        over all ranks; its tokens and requests are below 2^63 and 2^31
  /// @param neighbourhood  of the same ranks, with or without memory
  Hosts(std::unique_ptr<Transport> network, Neighbourhood neighbourhood);

  int rank() const override { return network_->rank(); }
  int size() const override { return network_->size(); }
  std::string_view name() const override { return network_->name(); }
  int host_of(int rank) const override { return host_of_[static_cast<std::size_t>(rank)]; }

  bool allows_threads() const override { return network_->allows_threads(); }

  std::byte* allocate(std::size_t bytes) override;
  bool done(Request request) override;
  bool outlives_rank(Request request) const override;
  void expect(int peer, int channel) override;
  bool take(int peer, int channel, Arrival& arrival) override;
  void release(const Arrival& arrival) override;
  void progress() override;
  std::optional<std::string> end_of(int peer) override;

  bool allreduce(const void* in, void* out, std::size_t count, DataType type,
                 ReduceOp op) override {
    return network_->allreduce(in, out, count, type, op);
  }
  bool has_allreduce(DataType type, ReduceOp op) const override {
    return network_->has_allreduce(type, op);
  }

  bool sends_wait_for_peers() const override;
  void keep_address() override;
  void abandon() override;

 private:
  static constexpr int kAcross = -1;

  Request start_send(int peer, int channel, std::span<const std::byte> bytes) override;
  int local_of(int peer) const { return local_of_[static_cast<std::size_t>(peer)]; }

  std::unique_ptr<Transport> network_;
  std::unique_ptr<SharedMemory> memory_;
  std::vector<int> host_of_;   // by rank
  std::vector<int> local_of_;  // by rank: its number in memory_, or kAcross
  bool network_awaited_ = true;
  unsigned rounds_ = 0;  // without a look at the network
};

/// Makes a network.
/// @param beyond  by rank: whether the network must reach it, which shared memory does not. None,
///                or some on every rank.
using OpenNetwork = std::function<std::unique_ptr<Transport>(const std::vector<bool>& beyond)>;

/// Shared memory inside each host where it can be had, and a network for the rest. All ranks call.
/// @param wanted  whether this rank is to share memory
/// @throws Error peer_failed, timeout, when the bootstrap does; what `open` throws
CPDCOMM_API std::unique_ptr<Transport> with_shared_memory(const OpenNetwork& open,
                                                          Bootstrap& bootstrap, bool wanted);
/// The same with a network that is there.
CPDCOMM_API std::unique_ptr<Transport> with_shared_memory(std::unique_ptr<Transport> network,
                                                          Bootstrap& bootstrap, bool wanted);

}  // namespace cpdcomm::transport
