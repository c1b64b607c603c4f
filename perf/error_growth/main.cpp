// How the error of a sum grows with the number of ranks: all ranks are threads, so any machine will
// do. Against the sum in double precision.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "codec/targets.hpp"
#include "common/arguments.hpp"
#include "common/exit_codes.hpp"
#include "common/guarded.hpp"
#include "common/machine.hpp"
#include "common/output_file.hpp"
#include "cpdcomm/threads.hpp"
#include "cpdcomm/version.hpp"

namespace cpdcomm::perf {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kExamples =
    "Every rank has normally distributed values of its own; the error is the root mean square of\n"
    "what the sum is off, over that of the sum in double precision.\n\n"
    "Examples:\n"
    "  cpd-error-growth                                   a table\n"
    "  cpd-error-growth --wire e4m3,e5m2 -J growth.json   and a file for perf/plot growth\n";

struct Options {
  std::vector<std::string> wires{"e4m3", "e5m2", "e3m0"};
  std::vector<std::string> algorithms{"direct", "tree", "halving_doubling", "ring"};
  std::vector<int> ranks{2, 4, 8, 16, 32, 64};
  std::string accumulate = "wide";
  std::size_t values = 1 << 16;
  std::string output_file;
};

std::vector<float> part(std::size_t count, int rank) {
  std::mt19937 random(static_cast<unsigned>(rank) + 1);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& x : values) x = normal(random);
  return values;
}

std::vector<std::vector<float>> parts_of(const Options& options, int ranks) {
  std::vector<std::vector<float>> parts;
  for (int rank = 0; rank < ranks; ++rank) parts.push_back(part(options.values, rank));
  return parts;
}

/// What rank 0 gets.
std::vector<float> sum(std::vector<std::vector<float>> parts, const AllreduceOptions& options) {
  auto communicators = make_thread_communicators(static_cast<int>(parts.size()));
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < parts.size(); ++rank) {
    threads.emplace_back([&, rank] { communicators[rank].allreduce(parts[rank], options); });
  }
  for (std::thread& thread : threads) thread.join();
  return parts[0];
}

double relative_error(const std::vector<std::vector<float>>& parts, const std::vector<float>& got) {
  double wrong = 0;
  double all = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    double exact = 0;
    for (const auto& values : parts) exact += static_cast<double>(values[i]);
    wrong += (static_cast<double>(got[i]) - exact) * (static_cast<double>(got[i]) - exact);
    all += exact * exact;
  }
  return std::sqrt(wrong / all);
}

Json measure(const Options& options) {
  Json rows = Json::array();
  fmt::print("{:>6} {:>8} {:>18} {:>14}\n", "ranks", "format", "algorithm", "rel. RMS error");
  for (const int ranks : options.ranks) {
    const auto parts = parts_of(options, ranks);
    for (const std::string& wire : options.wires) {
      for (const std::string& algorithm : options.algorithms) {
        AllreduceOptions asked{.wire = Format::parse(wire),
                               .accumulate = parse_accumulate(options.accumulate)};
        asked.algorithm = parse_algorithm(algorithm);
        const double error = relative_error(parts, sum(parts, asked));
        fmt::print("{:>6} {:>8} {:>18} {:>14.5f}\n", ranks, wire, algorithm, error);
        rows.push_back(
            {{"ranks", ranks}, {"wire", wire}, {"algorithm", algorithm}, {"rel_rms", error}});
      }
    }
  }
  return rows;
}

std::string date() {
  const std::time_t now = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
  return text;
}

Json machine() {
  return {{"cpu_model", cpu_model()},
          {"instruction_sets", instruction_sets()},
          {"cores", usable_cores().size()},
          {"simd_target", codec::targets().front()}};
}

/// As perf/schema/error_growth.schema.json says.
std::string to_json(const Options& options, const std::vector<std::string>& command, Json rows) {
  const Json document{{"schema", "cpd-error-growth/1"},
                      {"program", "cpd-error-growth"},
                      {"version", version()},
                      {"date", date()},
                      {"command", command},
                      {"machine", machine()},
                      {"accumulate", options.accumulate},
                      {"values", options.values},
                      {"results", std::move(rows)}};
  // What is not UTF-8 in the command is no reason to lose the results.
  return document.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

void declare(CLI::App& app, Options& options) {
  app.footer(kExamples);
  app.add_option("--wire", options.wires, "formats on the wire")
      ->delimiter(',')
      ->check(accepted_by(Format::parse))
      ->capture_default_str();
  app.add_option("--algorithm", options.algorithms, "who sends what to whom")
      ->delimiter(',')
      ->check(accepted_by(parse_algorithm))
      ->capture_default_str();
  app.add_option("--accumulate", options.accumulate, "how partial sums are kept")
      ->check(accepted_by(parse_accumulate))
      ->capture_default_str();
  app.add_option("--ranks", options.ranks, "numbers of ranks, each a thread")
      ->delimiter(',')
      ->check(CLI::Range(1, 256))
      ->capture_default_str();
  app.add_option("--values", options.values, "of the vector")
      ->check(CLI::Range(std::size_t{1}, std::size_t{1} << 24))
      ->capture_default_str();
  app.add_option("-J,--json", options.output_file, "writes the numbers to this file, too")
      ->check(not_empty());
}

int run(int argc, char** argv) {
  CLI::App app("Measures how the error of a sum grows with the number of ranks.",
               "cpd-error-growth");
  Options options;
  declare(app, options);
  CLI11_PARSE(app, argc, argv);
  if (!options.output_file.empty()) {
    const std::string why = why_not_writable(options.output_file);
    if (!why.empty()) throw Error(ErrorCode::invalid_argument, why);
  }
  const Json rows = measure(options);
  if (options.output_file.empty()) return kDone;
  std::vector<std::string> command(argv, argv + argc);
  command[0] = "cpd-error-growth";
  const OutputFile file(options.output_file);
  file.write(to_json(options, command, rows));
  fmt::print("# {}\n", file.name());
  return kDone;
}

}  // namespace
}  // namespace cpdcomm::perf

int main(int argc, char** argv) {
  return cpdcomm::perf::guarded("cpd-error-growth", [&] { return cpdcomm::perf::run(argc, argv); });
}
