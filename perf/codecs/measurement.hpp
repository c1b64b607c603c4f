#pragma once

#include <benchmark/benchmark.h>

#include <vector>

#include "codecs/cases.hpp"
#include "codecs/progress.hpp"
#include "codecs/workload.hpp"

namespace cpdcomm::perf {

/// Runs cases under Google Benchmark, whose command line must have been read before.
class Measurement {
 public:
  Measurement(const Options& options, const std::vector<Case>& cases, std::vector<int> cores);

  /// Measures all that the filter lets through. @returns how many cases that were
  std::size_t run(benchmark::BenchmarkReporter& reporter);

 private:
  void measure(benchmark::State& state, const Case& of);

  std::vector<int> cores_;
  Workload work_;
  Progress progress_;
};

}  // namespace cpdcomm::perf
