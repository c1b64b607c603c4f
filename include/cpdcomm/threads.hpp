#pragma once

#include <vector>

#include "cpdcomm/communicator.hpp"
#include "cpdcomm/export.hpp"

namespace cpdcomm {

/// Ranks as threads of this process: one communicator for each of `ranks` threads. With one rank,
/// a communicator that needs no network.
/// @param ranks_per_host  as if so many neighbours shared a host; 0: each has one of its own
/// @throws Error invalid_argument unless ranks >= 1
CPDCOMM_API std::vector<Communicator> make_thread_communicators(
    int ranks, const CommunicatorOptions& options = {}, int ranks_per_host = 0);

}  // namespace cpdcomm
