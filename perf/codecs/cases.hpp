#pragma once

#include <string>
#include <vector>

#include "codecs/kernels.hpp"
#include "codecs/options.hpp"

namespace cpdcomm::perf {

/// One kernel on one format and buffer.
struct Case {
  Kernel kernel;
  Format format;
  std::size_t values;

  /// kernel/format/values, the name for --benchmark_filter.
  std::string name() const;
};

/// All that was chosen, each once, in the order asked for.
std::vector<Case> cases_of(const Options& options);

}  // namespace cpdcomm::perf
