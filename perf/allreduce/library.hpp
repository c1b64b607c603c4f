#pragma once

#include "allreduce/options.hpp"
#include "cpdcomm/communicator.hpp"

namespace cpdcomm::perf {

/// The library over the ranks of MPI_COMM_WORLD, on the transport that the options name.
/// @throws Error unsupported when the program was built without that transport
Communicator make_library(const Options& options);

}  // namespace cpdcomm::perf
