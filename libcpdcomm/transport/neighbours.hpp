#pragma once

#include <memory>
#include <string>
#include <vector>

#include "transport/bootstrap.hpp"
#include "transport/shared_memory.hpp"

namespace cpdcomm::transport {

/// Which rank is on which host.
struct HostMap {
  std::vector<int> host_of;  ///< by rank; hosts are numbered in the order of their first ranks
  std::string reason;        ///< why every rank is said to be alone; empty: they may be so

  std::vector<int> ranks_on(int host) const;
  int count() const;  ///< of hosts
};

/// @param seen  by rank: itself and the ranks whose memory it can open, ascending. Unless each of
///              these sees the same ranks as it does, everybody is alone.
HostMap map_hosts(const std::vector<std::vector<int>>& seen);

/// What the ranks of a communicator have found out about who is near.
struct Neighbourhood {
  HostMap hosts;
  std::unique_ptr<SharedMemory> memory;  ///< with the ranks of this host, in their order; or none
  std::string reason;  ///< the first rank's that could share no memory, and why; the same on all

  /// By rank: whether a network must reach it from `rank`. None, or some for every rank.
  std::vector<bool> beyond(int rank) const;
};

/// Finds the ranks on this host, those of this user whose memory can be opened and who have the
/// same /dev/shm, and shares memory with them. Where that cannot be had there is none, which is no
/// error. All ranks of `bootstrap` call.
///
/// The memory has no name, and nothing of it lies in /dev/shm. Only where ranks with one /dev/shm
/// cannot open it, because their numbers of processes are not the same, they try again with names
/// there, until all have opened what they see.
/// @param wanted    false: this rank is alone
/// @param channels  that a pair of ranks may use
/// @throws Error peer_failed, timeout, when the bootstrap does
Neighbourhood meet_neighbours(Bootstrap& bootstrap, bool wanted, std::size_t channels = 16);

}  // namespace cpdcomm::transport
