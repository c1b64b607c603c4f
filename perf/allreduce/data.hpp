#pragma once

#include <functional>
#include <memory>

#include "allreduce/inputs.hpp"
#include "allreduce/options.hpp"

namespace cpdcomm::perf {

/// Runs work on every rank of MPI_COMM_WORLD; where it fails on one, it has failed on all.
/// @throws Error of the lowest rank that failed, on every rank
void together(const std::function<void()>& work);

/// What --input names. A file is read by rank 0 and goes to all others.
/// @throws Error invalid_argument, on every rank, when the file cannot be used
std::unique_ptr<Inputs> load_inputs(const Options& options, int ranks);

}  // namespace cpdcomm::perf
