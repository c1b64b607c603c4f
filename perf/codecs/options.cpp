#include "codecs/options.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>

#include "codec/targets.hpp"
#include "codecs/kernels.hpp"
#include "common/arguments.hpp"
#include "common/exit_codes.hpp"
#include "common/output_file.hpp"
#include "cpdcomm/error.hpp"

namespace cpdcomm::perf {
namespace {

constexpr const char* kAbout = R"(Measures the codecs, in bytes of FP32 per second.

Every kernel works on the same buffers of FP32 values: the rate counts 4 bytes for each value,
whatever is read and written. So "encode" beside "memcpy" of the same values says how much faster
than a plain copy the packing is. All runs are repeated and interleaved at random, so that a machine
that becomes slower or faster meets all alike; what is reported is the median of the repetitions.

kernels:
  memcpy              a copy of the FP32 values
  read                a pass that only reads them
  largest             the largest magnitude, which APS needs
  random_words        the words of stochastic rounding alone, 4 bytes for a value
  encode              FP32 to packed bytes
  quantize            FP32 to FP32, decode(encode(x)) without the packing
  decode              packed bytes to FP32
  decode_add          sum += decode(bytes)
  decode_add_encode   one hop of a ring: packed in, own FP32 part added, packed out
  decode_sum_encode   the owner's work in direct: 4 packed inputs, one packed sum
  ..._stochastic      the same with stochastic rounding (those that encode))";

constexpr const char* kExamples = R"(
columns of the table:
  kernel, format   what was measured; fp32 where no format takes part
  values, threads  in the whole buffer, and among how many threads it was cut
  time_us          of one pass over the buffer, the median of the repetitions
  GB/s             4 bytes of each value / time, 10^9 bytes
  of_memcpy        rate / rate of memcpy of the same values and threads; - without it in the run
  spread_%         (largest - smallest time) / median; - with one repetition
Lines that begin with # are not data. All runs are interleaved, so the rows come at the end and what
is broken off gives none; on a terminal a line on stderr says how far it is.

examples:
  cpd-codec-perf --wire e4m3,e3m0 --threads 1               two formats, one core
  cpd-codec-perf --kernels memcpy,encode --values 16Mi      two kernels, large buffers
  cpd-codec-perf --target avx2 --wire e4m3                  on a machine that has more
  cpd-codec-perf -n 3 --min-time 0.01 --format csv          a quick look, for a spreadsheet
  cpd-codec-perf -J codec.json                              all, for perf/plot codec codec.json

Options that start with --benchmark_ go on to Google Benchmark, --benchmark_filter=REGEX and
--benchmark_list_tests=true among them. The defaults take about 10 minutes; take a machine that does
nothing else. Memory: 48 bytes for each value of the largest buffer.

exit codes: 0 measured, 2 bad usage or another error)";

std::vector<std::string> kernel_names() {
  std::vector<std::string> names;
  for (const auto kernels : {memory_kernels(), codec_kernels()}) {
    for (const Kernel& kernel : kernels) names.emplace_back(kernel.name);
  }
  return names;
}

void add_choices(CLI::App& app, Options& options, int cores) {
  const std::map<std::string, std::size_t> units{{"Ki", 1 << 10}, {"Mi", 1 << 20}};
  app.add_option("--formats,--wire", options.formats, "wire formats by name (default: all widths)")
      ->delimiter(',')
      ->check(accepted_by([](const std::string& name) { Format::parse(name); }))
      ->option_text("NAME,...");
  app.add_option("--kernels", options.kernels, "what is measured (default: all)")
      ->delimiter(',')
      ->check(CLI::IsMember(kernel_names()))
      ->option_text("NAME,...");
  app.add_option("--values", options.values, "values in a buffer, such as 16Ki or 16Mi")
      ->delimiter(',')
      ->transform(CLI::AsNumberWithUnit(units, CLI::AsNumberWithUnit::CASE_SENSITIVE, "COUNT"))
      ->check(CLI::Range(std::size_t{1}, std::size_t{1} << 30))
      ->option_text("COUNT,...  (default: 16Ki,64Ki,16Mi)");
  app.add_option("--threads", options.threads, "threads, each on a core and a slice of its own")
      ->delimiter(',')
      ->check(CLI::Range(1, cores))
      ->option_text("N,...  (default: 1 and all cores)");
  app.add_option("--target", options.target, "instruction set; the best is what the library uses")
      ->check(CLI::IsMember(codec::targets()))
      ->option_text(
          fmt::format("{}  (default: {})", fmt::join(codec::targets(), "|"), options.target));
}

void add_settings(CLI::App& app, Options& options) {
  app.add_option("-n,--repetitions", options.repetitions, "of each measurement")
      ->check(CLI::Range(1, 1000))
      ->option_text(fmt::format("N  (default: {})", options.repetitions));
  app.add_option("--min-time", options.min_time, "seconds of one repetition, at least")
      ->check(CLI::Range(1e-6, 3600.0))
      ->option_text(fmt::format("SECONDS  (default: {})", options.min_time));
  app.add_option("--format", options.format, "of the results on stdout")
      ->check(CLI::IsMember(std::vector<std::string>{"table", "csv", "json"}))
      ->option_text("table|csv|json  (default: table)");
  app.add_option("-J,--output_file", options.output_file,
                 "write JSON, too; if FILE exists, to FILE.1, FILE.2, ...")
      ->check(CLI::Validator(why_not_writable, "FILE"))
      ->option_text("FILE");
}

/// Google Benchmark's options that have one of ours, which would be contradicted.
std::string ours_instead(const std::string& extra) {
  static const std::map<std::string, std::string> kOurs{
      {"--benchmark_repetitions", "use -n/--repetitions"},
      {"--benchmark_min_time", "use --min-time"},
      {"--benchmark_format", "use --format"},
      {"--benchmark_out", "use -J/--output_file"},
      {"--benchmark_out_format", "-J/--output_file writes JSON"},
      {"--benchmark_enable_random_interleaving", "it is always on"},
      {"--benchmark_report_aggregates_only", "the median of all repetitions is reported"},
      {"--benchmark_display_aggregates_only", "the median of all repetitions is reported"},
  };
  const auto found = kOurs.find(extra.substr(0, extra.find('=')));
  return found == kOurs.end() ? std::string() : found->second;
}

void take_extras(const std::vector<std::string>& extras, Options& options) {
  for (const std::string& extra : extras) {
    if (!extra.starts_with("--benchmark_")) {
      throw CLI::ExtrasError(std::vector<std::string>{extra});
    }
    if (const std::string instead = ours_instead(extra); !instead.empty()) {
      throw CLI::ValidationError(extra, "is not passed on: " + instead);
    }
    options.benchmark.push_back(extra);
  }
}

/// Lists that were left empty; a number of threads counts once.
void fill_defaults(int cores, Options& options) {
  if (options.kernels.empty()) options.kernels = kernel_names();
  if (options.threads.empty()) options.threads = {1, cores};
  std::ranges::sort(options.threads);
  const auto twice = std::ranges::unique(options.threads);
  options.threads.erase(twice.begin(), twice.end());
}

}  // namespace

std::optional<int> parse(int argc, char** argv, int cores, Options& options) {
  options.target = codec::targets().front();
  CLI::App app(kAbout, "cpd-codec-perf");
  app.footer(kExamples);
  app.allow_extras();
  add_choices(app, options, cores);
  add_settings(app, options);
  try {
    app.parse(argc, argv);
    take_extras(app.remaining(), options);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kFailed;
  }
  fill_defaults(cores, options);
  return std::nullopt;
}

}  // namespace cpdcomm::perf
