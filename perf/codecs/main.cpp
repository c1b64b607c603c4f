// Measures the codecs beside what the machine's memory can do, interleaved in one run.
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "codec/targets.hpp"
#include "codecs/kernels.hpp"
#include "common/machine.hpp"
#include "cpdcomm/error.hpp"
#include "cpdcomm/version.hpp"

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
examples:
  cpd-codec-perf --formats e4m3,e3m0 --threads 1            two formats, one core
  cpd-codec-perf --kernels encode,decode --values 16Mi      two kernels, large buffers
  cpd-codec-perf --target avx2 --formats e4m3               on a machine that has more
  cpd-codec-perf --out codec.json                           all, for perf/plot_codec.py

Options that start with --benchmark_ go on to Google Benchmark, --benchmark_filter=REGEX among
them. The defaults take about 10 minutes; take a machine that does nothing else.)";

struct Options {
  std::vector<std::string> formats{"e4m3", "e5m2",      "e3m0",  "e2m1fn", "bf16", "fp16",
                                   "e1m0", "e2m0",      "e2m2",  "e3m2",   "e3m3", "e4m4",
                                   "e5m4", "e5m5",      "e5m6",  "e5m7",   "e5m8", "e5m9",
                                   "bfp8", "mxfp8e4m3", "mxfp4", "int4",   "int8", "sign"};
  std::vector<std::string> kernels;
  std::vector<std::size_t> values{16 << 10, 64 << 10, 16 << 20};
  std::vector<int> threads;
  std::string target = codec::targets().front();
  int repetitions = 7;
  double min_time = 0.05;
  std::string out;
};

std::vector<std::string> kernel_names() {
  std::vector<std::string> names;
  for (const auto kernels : {memory_kernels(), codec_kernels()}) {
    for (const Kernel& kernel : kernels) names.emplace_back(kernel.name);
  }
  return names;
}

/// As people say it: 16Ki, 16Mi.
std::string in_words(std::size_t values) {
  if (values % (1 << 20) == 0) return std::to_string(values >> 20) + "Mi";
  if (values % (1 << 10) == 0) return std::to_string(values >> 10) + "Ki";
  return std::to_string(values);
}

std::string known_format(const std::string& name) {
  try {
    Format::parse(name);
    return {};
  } catch (const Error& error) {
    return error.what();
  }
}

void add_options(CLI::App& app, Options& options, int cores) {
  const std::map<std::string, std::size_t> units{{"Ki", 1 << 10}, {"Mi", 1 << 20}};
  app.add_option("--formats", options.formats, "wire formats by name (default: all widths)")
      ->delimiter(',')
      ->check(CLI::Validator(known_format, "NAME"))
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
  app.add_option("--repetitions", options.repetitions, "of each measurement")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--min-time", options.min_time, "seconds of one repetition, at least")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--out", options.out, "write JSON to this file, too");
}

/// One kernel on one format and buffer.
struct Case {
  Kernel kernel;
  Format format;
  std::size_t values;
};

void measure(benchmark::State& state, const Case& of, Workload& work,
             const std::vector<int>& cores) {
  const int thread = state.thread_index();
  const Pinned pinned(cores[static_cast<std::size_t>(thread)]);
  const codec::Codec codec = codec::codec_for(of.format);
  if (of.kernel.reads_packed) work.pack(codec, of.values);
  const Slice slice = slice_of(of.values, codec.alignment(), thread, state.threads());
  CastOptions cast;
  if (of.kernel.stochastic) cast.stochastic = RandomStream{};
  const Pass pass{codec, cast, work, of.values, slice};
  of.kernel.run(pass);  // the caches and the clock warm up
  for (auto _ : state) {
    of.kernel.run(pass);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() *
                          static_cast<std::int64_t>(slice.count * sizeof(float)));
}

/// Registers what was chosen, under kernel/format/values/threads.
class Registration {
 public:
  Registration(const Options& options, Workload& work, const std::vector<int>& cores)
      : options_(options), work_(work), cores_(cores) {}

  void add_all() {
    for (const Kernel& kernel : memory_kernels()) add(kernel, Format());
    for (const std::string& name : options_.formats) {
      for (const Kernel& kernel : codec_kernels()) add(kernel, Format::parse(name));
    }
  }

 private:
  void add(const Kernel& kernel, Format format) {
    const auto& wanted = options_.kernels;
    if (!wanted.empty() && std::ranges::find(wanted, kernel.name) == wanted.end()) return;
    for (const std::size_t values : options_.values) {
      const std::string name =
          std::string(kernel.name) + "/" + format.to_string() + "/" + in_words(values);
      const Case of{kernel, format, values};
      auto* registered = benchmark::RegisterBenchmark(
          name.c_str(), [of, this](benchmark::State& state) { measure(state, of, work_, cores_); });
      for (const int threads : options_.threads) registered->Threads(threads);
      registered->UseRealTime();
    }
  }

  const Options& options_;
  Workload& work_;
  const std::vector<int>& cores_;
};

/// Google Benchmark's own command line: our choices first, then what the user passed on.
void initialize(const Options& options, const char* program, std::vector<std::string> extras) {
  std::vector<std::string> line{program, "--benchmark_enable_random_interleaving=true",
                                "--benchmark_repetitions=" + std::to_string(options.repetitions),
                                "--benchmark_min_time=" + std::to_string(options.min_time)};
  // A single repetition has no aggregates.
  if (options.repetitions > 1) line.emplace_back("--benchmark_report_aggregates_only=true");
  if (!options.out.empty()) {
    line.push_back("--benchmark_out=" + options.out);
    line.emplace_back("--benchmark_out_format=json");
  }
  line.insert(line.end(), extras.begin(), extras.end());
  std::vector<char*> arguments;
  for (std::string& argument : line) arguments.push_back(argument.data());
  int count = static_cast<int>(arguments.size());
  benchmark::Initialize(&count, arguments.data());
}

void describe(const Options& options, int argc, char** argv) {
  std::string command;
  for (int i = 0; i < argc; ++i) command += (i == 0 ? "" : " ") + std::string(argv[i]);
  benchmark::AddCustomContext("cpdcomm_version", version());
  benchmark::AddCustomContext("command", command);
  benchmark::AddCustomContext("target", options.target);
  benchmark::AddCustomContext("cpu_model", cpu_model());
  benchmark::AddCustomContext("instruction_sets", instruction_sets());
}

int run(int argc, char** argv) {
  const std::vector<int> cores = usable_cores();
  const int all = static_cast<int>(cores.size());
  Options options;
  CLI::App app(kAbout, "cpd-codec-perf");
  app.footer(kExamples);
  app.allow_extras();
  add_options(app, options, all);
  CLI11_PARSE(app, argc, argv);
  for (const std::string& extra : app.remaining()) {
    if (extra.starts_with("--benchmark_")) continue;
    return app.exit(CLI::ExtrasError(std::vector<std::string>{extra}));
  }
  if (options.threads.empty()) options.threads = all > 1 ? std::vector{1, all} : std::vector{1};

  codec::use_target(options.target);
  initialize(options, argv[0], app.remaining());
  describe(options, argc, argv);
  Workload work(std::ranges::max(options.values));
  Registration(options, work, cores).add_all();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

}  // namespace
}  // namespace cpdcomm::perf

int main(int argc, char** argv) { return cpdcomm::perf::run(argc, argv); }
