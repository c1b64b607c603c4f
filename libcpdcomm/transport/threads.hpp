#pragma once

#include <memory>
#include <vector>

#include "transport/transport.hpp"

namespace cpdcomm::transport {

/// Ranks as threads of one process: `ranks` transports, one for each thread. Also how a single
/// process takes part without any network (ranks = 1).
std::vector<std::unique_ptr<Transport>> make_thread_transports(int ranks);

}  // namespace cpdcomm::transport
