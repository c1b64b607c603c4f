#include "codecs/table.hpp"

#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdio>
#include <optional>
#include <string>

#include "common/machine.hpp"
#include "cpdcomm/version.hpp"

namespace cpdcomm::perf {
namespace {

/// A number where there is one.
std::string or_dash(std::optional<double> number, int digits) {
  return number ? fmt::format("{:.{}f}", *number, digits) : "-";
}

std::optional<double> percent(std::optional<double> share) {
  return share ? std::optional(100 * *share) : std::nullopt;
}

std::string or_empty(std::optional<double> number) {
  return number ? fmt::format("{:.6g}", *number) : "";
}

std::string load_average() {
  const std::vector<double>& load = benchmark::CPUInfo::Get().load_avg;
  return load.empty() ? "unknown" : fmt::format("{:.2f}", load.front());
}

}  // namespace

void print_header(const Record& record) {
  fmt::print("# cpd-codec-perf {}, {}\n", version(), record.date);
  fmt::print("# command: {}\n", fmt::join(record.command, " "));
  fmt::print("# machine: {}, {} cores, load average {}\n", cpu_model(), record.cores,
             load_average());
  fmt::print("# target: {}\n", record.options.target);
  if (benchmark::CPUInfo::Get().scaling == benchmark::CPUInfo::ENABLED) {
    fmt::print("# The cores change their frequency (CPU scaling): expect noise.\n");
  }
  fmt::print("# time_us: median of {} repetitions, interleaved at random\n",
             record.options.repetitions);
  fmt::print("# GB/s: 4 bytes of each value / time; of_memcpy: relative to memcpy's rate\n");
  fmt::print("# spread_%: (largest - smallest time) / median\n#\n");
  std::fflush(stdout);
}

void print_table(const std::vector<Result>& results) {
  fmt::print("#{:>28} {:>12} {:>10} {:>7} {:>12} {:>8} {:>9} {:>8}\n", "kernel", "format", "values",
             "threads", "time_us", "GB/s", "of_memcpy", "spread_%");
  for (const Result& result : results) {
    fmt::print(" {:>28} {:>12} {:>10} {:>7} {:>12.3f} {:>8.2f} {:>9} {:>8}\n", result.kernel,
               result.format, result.values, result.threads, result.time_us(),
               result.bytes_per_second() / 1e9, or_dash(result.of_memcpy, 2),
               or_dash(percent(result.spread()), 1));
  }
}

void print_csv(const std::vector<Result>& results) {
  fmt::print("kernel,format,values,threads,time_us,time_us_min,time_us_max,GB/s,of_memcpy\n");
  for (const Result& result : results) {
    fmt::print("{},{},{},{},{:.6g},{:.6g},{:.6g},{:.6g},{}\n", result.kernel, result.format,
               result.values, result.threads, result.time_us(), result.times_us.front(),
               result.times_us.back(), result.bytes_per_second() / 1e9, or_empty(result.of_memcpy));
  }
}

}  // namespace cpdcomm::perf
