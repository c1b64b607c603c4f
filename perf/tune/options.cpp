#include "tune/options.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <sstream>

#include "collective/plan.hpp"
#include "common/arguments.hpp"

namespace cpdcomm::perf::tune {
namespace {

constexpr std::size_t kSmallest = 1024;

constexpr const char* kAbout =
    R"(Measures this cluster, and writes the table that cpdcomm's algorithm "automatic" goes by.

Runs under mpirun or srun, with the ranks and hosts of a training job: latency and bandwidth, then
MPI_Allreduce and the library's own all-reduces, call by call in turn. The table then decides the
same in every run and on every rank, without a clock.)";

constexpr const char* kExamples = R"(
examples:
  mpirun -n 4 cpd-tune
  srun -N 8 --ntasks-per-node 4 --mpi=pmix cpd-tune -o cluster.json
  srun -N 8 --ntasks-per-node 1 --mpi=pmix cpd-tune --add-to cluster.json -o both.json
  for i in 1 2 3; do mpirun -n 4 cpd-tune --add-to tuning.json -f; done
  CPDCOMM_TUNING=both.json CPDCOMM_DEBUG=info mpirun -x CPDCOMM_TUNING -x CPDCOMM_DEBUG ...

With several profiles in a table, that of the nearest number of ranks and hosts is taken. Where the
cores of a host are not alike to each other, a launch is fast or slow by where its ranks land: tune
several times into one table, and `automatic` leaves MPI's own only where that was slower each time.

exit codes: 0 the table is written, 2 bad usage or another error)";

void add_options(CLI::App& app, Options& o) {
  app.add_option("-o,--output", o.file, "the table")
      ->check(not_empty())
      ->option_text("FILE  (default: tuning.json)");
  app.add_flag("-f,--force", o.force, "overwrite a file that is there");
  app.add_option("--add-to", o.add_to,
                 "keep what this table says of other numbers of ranks and\nhosts; of the same, of "
                 "two times the one that speaks\nagainst the library counts")
      ->check(not_empty())
      ->option_text("FILE");
  app.add_flag("--quick", o.quick, "half a minute, vectors up to 4M, one segment size");
  app.add_option_function<std::string>(
         "-e,--maxbytes",
         [&o](const std::string& text) { o.max_bytes = parse_size("--maxbytes", text); },
         "largest vector; the smallest has 1K")
      ->option_text("SIZE  (default: 64M)");
  app.add_option("--wire", o.wires, "formats to measure; others are worked out from them")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(accepted_by([](const std::string& name) { Format::parse(name); }))
      ->option_text("NAME,...  (default: fp32,e4m3,e3m0)");
  app.add_option_function<std::vector<std::string>>(
         "--segments",
         [&o](const std::vector<std::string>& texts) {
           for (const auto& text : texts) o.segments.push_back(parse_size("--segments", text));
         },
         "bytes that are encoded and sent at once")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->option_text(fmt::format("SIZE,...  (default: {},16K)", collective::kLargestSegment));
  app.add_option("-n,--rounds", o.rounds,
                 "most calls of each contender and size; the median counts")
      ->check(CLI::Range(1, 100000))
      ->option_text("N  (default: 15)");
  app.add_option("--time-limit", o.time_limit,
                 "seconds for all calls, about: then fewer rounds are done,\nat least 3")
      ->check(seconds())
      ->option_text("S  (default: 180)");
}

void fill_in(Options& o) {
  constexpr std::size_t kMiB = std::size_t{1} << 20;
  if (o.max_bytes == 0) o.max_bytes = o.quick ? 4 * kMiB : 64 * kMiB;
  if (o.time_limit <= 0) o.time_limit = o.quick ? 30 : 180;
  if (o.segments.empty()) o.segments = {collective::kLargestSegment};
  if (o.segments.size() == 1 && !o.quick) o.segments.push_back(16384);
  if (o.max_bytes < kSmallest || o.max_bytes > (std::size_t{1} << 32)) {
    throw CLI::ValidationError(
        fmt::format("-e is {}; allowed is {} to 4G", o.max_bytes, kSmallest));
  }
  for (const std::size_t segment : o.segments) {
    if (segment >= 64 && segment <= collective::kLargestSegment) continue;
    throw CLI::ValidationError(fmt::format("--segments has {}; allowed is 64 to {}", segment,
                                           collective::kLargestSegment));
  }
}

}  // namespace

std::vector<std::size_t> Options::sizes() const {
  std::vector<std::size_t> sizes;
  for (std::size_t size = kSmallest; size <= max_bytes; size *= 4) sizes.push_back(size);
  return sizes;
}

Parsed parse(int argc, const char* const* argv) {
  Parsed parsed;
  CLI::App app(kAbout, "cpd-tune");
  app.footer(kExamples);
  app.get_formatter()->column_width(30);
  add_options(app, parsed.options);
  try {
    app.parse(argc, argv);
    fill_in(parsed.options);
  } catch (const CLI::ParseError& error) {
    std::ostringstream out, err;
    parsed.exit_code = app.exit(error, out, err) == 0 ? 0 : 2;
    parsed.message = out.str() + err.str();
  }
  return parsed;
}

}  // namespace cpdcomm::perf::tune
