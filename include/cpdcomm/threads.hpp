#pragma once

#include <vector>

#include "cpdcomm/communicator.hpp"
#include "cpdcomm/export.hpp"

namespace cpdcomm {

/// Ranks as threads of this process: one communicator for each of `ranks` threads. With one rank,
/// a communicator that needs no network.
/// @throws Error invalid_argument unless ranks >= 1
CPDCOMM_API std::vector<Communicator> make_thread_communicators(
    int ranks, const CommunicatorOptions& options = {});

}  // namespace cpdcomm
