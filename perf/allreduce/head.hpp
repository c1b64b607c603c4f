#pragma once

#include <string>

#include "allreduce/writers.hpp"

namespace cpdcomm::perf {

/// What was run, where, and what was left out: lines that begin with `#`.
std::string head_of(const Run& run);

}  // namespace cpdcomm::perf
