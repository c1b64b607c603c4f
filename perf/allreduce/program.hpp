#pragma once

#include "allreduce/bench.hpp"

namespace cpdcomm::perf {

/// cpd-allreduce-perf from MPI_Init to MPI_Finalize.
/// @param spoiler  of tests; changes sums before they are checked
/// @return the exit code
int run_allreduce_perf(int argc, char** argv, const Spoiler& spoiler = {});

}  // namespace cpdcomm::perf
