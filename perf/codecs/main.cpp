// Measures the codecs beside what the machine's memory can do, interleaved in one run.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <cstdio>
#include <string>
#include <vector>

#include "codec/targets.hpp"
#include "codecs/measurement.hpp"
#include "codecs/options.hpp"
#include "codecs/record.hpp"
#include "codecs/reporter.hpp"
#include "codecs/table.hpp"
#include "common/exit_codes.hpp"
#include "common/guarded.hpp"
#include "common/machine.hpp"
#include "common/output_file.hpp"

namespace cpdcomm::perf {
namespace {

/// Google Benchmark's own command line: our choices, then what the user passed on.
bool initialize(const Options& options, const char* program) {
  std::vector<std::string> line{program, "--benchmark_enable_random_interleaving=true",
                                fmt::format("--benchmark_repetitions={}", options.repetitions),
                                fmt::format("--benchmark_min_time={}", options.min_time)};
  line.insert(line.end(), options.benchmark.begin(), options.benchmark.end());
  std::vector<char*> arguments;
  for (std::string& argument : line) arguments.push_back(argument.data());
  int count = static_cast<int>(arguments.size());
  benchmark::Initialize(&count, arguments.data());
  return !benchmark::ReportUnrecognizedArguments(count, arguments.data());
}

/// Names the file on stdout beside the table, else on stderr: stdout is data then.
void write_file(const Record& record, const std::vector<Result>& results) {
  const OutputFile file(record.options.output_file);
  std::FILE* notes = record.options.format == "table" ? stdout : stderr;
  fmt::print(notes, "# Writing JSON output to {}\n", file.name());
  file.write(to_json(record, results));
}

void print(const Record& record, const std::vector<Result>& results) {
  const std::string& format = record.options.format;
  if (format == "table") print_table(results);
  if (format == "csv") print_csv(results);
  if (format == "json") fmt::print("{}", to_json(record, results));
}

/// @returns what the filter let through; nothing was measured where it was only to be listed
std::size_t measure(const Record& record, const std::vector<Case>& cases,
                    const std::vector<int>& cores, std::vector<Result>& results) {
  Reporter reporter(cases, [&] {
    if (record.options.format == "table") print_header(record);
  });
  const std::size_t matched = Measurement(record.options, cases, cores).run(reporter);
  benchmark::Shutdown();
  results = reporter.results();
  return matched;
}

int run(int argc, char** argv) {
  const std::vector<int> cores = usable_cores();
  Options options;
  if (const auto code = parse(argc, argv, static_cast<int>(cores.size()), options)) return *code;
  codec::use_target(options.target);
  if (!initialize(options, argv[0])) return kFailed;
  const Record record = record_now(argc, argv, options, static_cast<int>(cores.size()));
  std::vector<Result> results;
  if (measure(record, cases_of(options), cores, results) == 0) return kFailed;
  if (results.empty()) return kDone;  // --benchmark_list_tests
  print(record, results);
  if (!options.output_file.empty()) write_file(record, results);
  return kDone;
}

}  // namespace
}  // namespace cpdcomm::perf

int main(int argc, char** argv) {
  return cpdcomm::perf::guarded("cpd-codec-perf", [&] { return cpdcomm::perf::run(argc, argv); });
}
