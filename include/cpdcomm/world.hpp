#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "cpdcomm/communicator.hpp"
#include "cpdcomm/export.hpp"

namespace cpdcomm {

namespace transport {
class Module;
}

/// The processes that a launcher has started, over a network that is loaded when it is asked for: a
/// program need not link MPI, and a machine without it still has the rest of the library.
class CPDCOMM_API World {
 public:
  /// Loads a network and starts it, once in a process: "mpi", from beside the library.
  /// @throws Error unsupported that says what is missing; also in a fork of the process that loaded
  ///         MPI, which is its parent's
  static World load(const std::string& network);
  /// Whether load(network) has succeeded in this process.
  static bool is_loaded(const std::string& network);

  /// This process among all of them.
  int rank() const;
  int size() const;

  /// Connects some of the processes; only they call, all with the same list and tag.
  /// @param ranks  in the order of the new group
  /// @param tag    tells groups apart that are made at the same time; 0 to 32767
  /// @throws Error peer_failed when the network reports an error
  Communicator connect(std::span<const int> ranks, int tag,
                       const CommunicatorOptions& options = {}) const;

  /// Collects the bytes of every process, in the order of the ranks; all of them call. It knows no
  /// deadline, and nothing of the CPDCOMM_ variables: for what they agree about before a group.
  /// @param mine  of any length, which may differ
  /// @throws Error peer_failed when the network reports an error
  std::vector<std::vector<std::byte>> allgather(std::span<const std::byte> mine) const;

  /// Ends the network, if load() has started it, at the end of the process and after all its
  /// groups.
  /// @param clean  false when the process ends because of an error: then peers are not waited for
  void shutdown(bool clean) const;

 private:
  explicit World(transport::Module& module) : module_(&module) {}
  transport::Module* module_;
};

}  // namespace cpdcomm
