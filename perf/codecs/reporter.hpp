#pragma once

#include <benchmark/benchmark.h>

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "codecs/cases.hpp"
#include "codecs/result.hpp"

namespace cpdcomm::perf {

/// Keeps what Google Benchmark measures until all repetitions are done.
class Reporter : public benchmark::BenchmarkReporter {
 public:
  /// @param begin is called once, before the first run
  Reporter(const std::vector<Case>& cases, std::function<void()> begin);

  bool ReportContext(const Context& context) override;
  void ReportRuns(const std::vector<Run>& runs) override;

  /// In the order of the cases, threads ascending, each compared with memcpy.
  std::vector<Result> results() const;

 private:
  const std::vector<Case>& cases_;
  std::function<void()> begin_;
  std::map<std::string, std::size_t> case_of_;                           ///< its index, by its name
  std::map<std::pair<std::size_t, int>, std::vector<double>> times_us_;  ///< by case and threads
};

}  // namespace cpdcomm::perf
