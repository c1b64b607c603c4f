#pragma once

namespace cpdcomm::topology {

/// Cores as this process sees them.
struct Cores {
  int machine = 1;  ///< that the machine (or its part that is a container's) has
  int bound = 1;    ///< that this process may run on
  /// The process that started this one may run on the same: then nobody chose them for this rank,
  /// and the host's ranks share them.
  bool inherited = true;
};

/// How many cores a rank may use beside its own; at least 0.
/// @param ranks_on_host  at least 1
int spare_cores(const Cores& cores, int ranks_on_host);

/// The same, of this process as it is bound now.
int spare_cores(int ranks_on_host);

}  // namespace cpdcomm::topology
