#pragma once

#include <memory>
#include <vector>

#include "transport/transport.hpp"

namespace cpdcomm::transport {

/// Ranks as threads of one process: `ranks` transports, one for each thread. Also how a single
/// process takes part without any network (ranks = 1).
/// @param ranks_per_host  as if so many neighbours shared a host; 0: each has one of its own
std::vector<std::unique_ptr<Transport>> make_thread_transports(int ranks, int ranks_per_host = 0);

}  // namespace cpdcomm::transport
