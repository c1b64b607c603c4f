#include "codecs/reporter.hpp"

#include <algorithm>

namespace cpdcomm::perf {
namespace {

/// From the rate: with several threads Google Benchmark divides the time by their number.
double time_us(const Case& of, double bytes_per_second) {
  return 1e6 * static_cast<double>(of.values * sizeof(float)) / bytes_per_second;
}

}  // namespace

Reporter::Reporter(const std::vector<Case>& cases, std::function<void()> begin)
    : cases_(cases), begin_(std::move(begin)) {
  for (std::size_t i = 0; i < cases.size(); ++i) case_of_[cases[i].name()] = i;
}

bool Reporter::ReportContext(const Context& /*context*/) {
  begin_();
  return true;
}

void Reporter::ReportRuns(const std::vector<Run>& runs) {
  for (const Run& run : runs) {
    if (run.run_type != Run::RT_Iteration) continue;  // its mean, median and deviation
    const std::size_t of = case_of_.at(run.run_name.function_name);
    const double rate = run.counters.at("bytes_per_second");
    times_us_[{of, static_cast<int>(run.threads)}].push_back(time_us(cases_[of], rate));
  }
}

std::vector<Result> Reporter::results() const {
  std::vector<Result> results;
  for (const auto& [key, times] : times_us_) {
    const auto& [index, threads] = key;
    const Case& of = cases_[index];
    results.push_back(
        {std::string(of.kernel.name), of.format.to_string(), of.values, threads, times});
    std::ranges::sort(results.back().times_us);
  }
  compare_with_memcpy(results);
  return results;
}

}  // namespace cpdcomm::perf
