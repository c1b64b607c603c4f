#include "allreduce/options.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <map>
#include <sstream>

#include "allreduce/help.hpp"
#include "allreduce/neutral.hpp"
#include "common/arguments.hpp"
#include "cpdcomm/error.hpp"

namespace cpdcomm::perf {
namespace {

const std::map<std::string, DataType> kTypes{{"float", DataType::fp32},
                                             {"half", DataType::fp16},
                                             {"bfloat16", DataType::bf16},
                                             {"double", DataType::fp64}};
const std::map<std::string, Options::Output> kOutputs{{"table", Options::Output::table},
                                                      {"csv", Options::Output::csv},
                                                      {"json", Options::Output::json},
                                                      {"osu", Options::Output::osu}};
const std::map<std::string, Options::Transport> kTransports{{"mpi", Options::Transport::mpi},
                                                            {"ucx", Options::Transport::ucx}};
const std::map<std::string, bool> kSwitch{{"on", true}, {"off", false}};

constexpr std::size_t kMostSizes = 10000;

template <typename T>
std::vector<std::string> keys_of(const std::map<std::string, T>& names) {
  std::vector<std::string> keys;
  for (const auto& [name, value] : names) keys.push_back(name);
  return keys;
}

/// A list of names for something that the library can read.
template <typename T>
void add_names(CLI::App& app, const std::string& flag, std::vector<T>& to,
               T (*parser)(std::string_view), const std::string& about, const std::string& names) {
  app.add_option_function<std::vector<std::string>>(
         flag,
         [&to, parser](const std::vector<std::string>& texts) {
           to.clear();
           for (const std::string& text : texts) to.push_back(parser(text));
         },
         about)
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(accepted_by(parser))
      ->option_text(names);
}

/// One of some names.
template <typename T>
void add_choice(CLI::App& app, const std::string& flag, T& to,
                const std::map<std::string, T>& names, const std::string& about,
                const std::string& text) {
  app.add_option_function<std::string>(
         flag, [&](const std::string& name) { to = names.at(name); }, about)
      ->check(CLI::IsMember(keys_of(names)))
      ->option_text(text);
}

void add_size(CLI::App& app, const std::string& flag, std::size_t& to, const std::string& about,
              const std::string& standard) {
  app.add_option_function<std::string>(
         flag, [&to, flag](const std::string& text) { to = parse_size(flag, text); }, about)
      ->option_text("SIZE  (default: " + standard + ")");
}

void add_amounts(CLI::App& app, Options& o) {
  add_size(app, "-b,--minbytes", o.min_bytes, "smallest vector", "32M");
  add_size(app, "-e,--maxbytes", o.max_bytes, "largest vector", "32M");
  add_size(app, "-i,--stepbytes", o.step_bytes, "from one size to the next, if not by -f", "1M");
  app.add_option("-f,--stepfactor", o.step_factor, "each size so many times the one before")
      ->check(CLI::Range(1, 1 << 20))
      ->option_text("N  (default: 1, which is steps of -i)");
  app.add_option("-n,--iters", o.iterations, "timed calls of each contender and size")
      ->check(CLI::Range(1, 1000000))
      ->option_text("N  (default: 20)");
  app.add_option("-w,--warmup_iters", o.warmups, "calls before them that are not timed")
      ->check(CLI::Range(0, 1000000))
      ->option_text("N  (default: 1)");
  app.add_option("-c,--check", o.checks, "calls before them whose sums are checked; 0: none")
      ->check(CLI::Range(0, 1000000))
      ->option_text("N  (default: 1)");
  app.add_option("--time-limit", o.time_limit,
                 "seconds for the timed calls of one size, about:\n"
                 "then fewer iterations are done than -n says, at least 3")
      ->check(seconds())
      ->option_text("S");
  app.add_option_function<int>(
         "-a,--average", [&o](int value) { o.average = static_cast<Options::Average>(value); },
         "a call's time is that of rank 0 (0), or over the ranks\n"
         "the mean (1), the smallest (2) or the largest (3)")
      ->check(CLI::Range(0, 3))
      ->option_text("0|1|2|3  (default: 1)");
}

void add_sums(CLI::App& app, Options& o) {
  app.add_option_function<std::string>(
         "-o,--op", [&o](const std::string& name) { o.op = parse_reduce_op(name); },
         "the reduction")
      ->check(CLI::IsMember({"sum", "avg"}))
      ->option_text("sum|avg  (default: sum)");
  add_choice(app, "-d,--datatype", o.type, kTypes, "type of the values",
             "float|half|bfloat16|double  (default: float)");
  app.add_option("--wire", o.wires, "wire formats, see below; none: only the baselines")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(accepted_by([](const std::string& name) {
        if (name != "none") Format::parse(name);
      }))
      ->option_text("NAME,...  (default: fp32,e5m2,e4m3,e3m0)");
  add_names(app, "--algorithm", o.algorithms, parse_algorithm, "who sends what to whom",
            "NAME,...  (automatic, direct, ring, tree,\nhalving_doubling, hierarchical; default: "
            "automatic)");
  add_names(app, "--across", o.across, parse_algorithm,
            "of hierarchical: the algorithm between hosts",
            "NAME,...  (as --algorithm, without hierarchical)");
  add_names(app, "--inner", o.inners, parse_inner,
            "of hierarchical: the format inside a host; wire: that of --wire",
            "NAME,...  (wire or a format; default: fp32)");
  add_names(app, "--accumulate", o.accumulates, parse_accumulate,
            "how partial sums are kept; exact goes with bfpK and intK,\nmajority with sign",
            "NAME,...  (wide, rounded, kahan, exact, majority;\ndefault: wide)");
  add_names(app, "--result", o.results, parse_result,
            "of exact: sums travel back in full width, or cast to the wire",
            "NAME,...  (full, wire; default: full)");
  add_names(app, "--scaling", o.scalings, parse_scaling,
            "shared exponents; automatic is aps for float formats",
            "NAME,...  (automatic, none, aps, aps:N, delayed;\ndefault: automatic)");
  add_names(app, "--rounding", o.roundings, parse_rounding, "of casts",
            "NAME,...  (nearest_even, stochastic; default: nearest_even)");
  app.add_flag("--in-place", o.in_place, "sum in one buffer, not from one into another");
  app.add_option("--baseline", o.baselines,
                 "beside them: MPI_Allreduce (mpi), the library's own\n"
                 "ring or direct with FP32 on the wire (ring, direct)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->check(CLI::IsMember({"mpi", "ring", "direct", "none"}))
      ->option_text("mpi,ring,direct,none  (default: mpi)");
}

/// 0 is nccl-tests' word for its own default.
CLI::Validator seconds_or_0() {
  return CLI::Validator(
      [](std::string& text) {
        if (text == "0") return std::string();
        const std::string wrong = seconds()(text);
        return wrong.empty() ? wrong : wrong + ", or 0";
      },
      "");
}

/// What nccl-tests takes and this program has no use for: only values that change nothing.
void add_neutral(CLI::App& app) {
  for (const NeutralOption& option : kNeutralOptions) {
    const std::vector<std::string> allowed = CLI::detail::split(option.allowed, '|');
    const auto check = [allowed, option](const std::string& value) {
      if (std::ranges::find(allowed, value) != allowed.end()) return;
      const std::string flags = option.flags;
      throw CLI::ValidationError(fmt::format("{}: {} is not allowed, only {}: {}",
                                             flags.substr(flags.find('-', 1)), value,
                                             fmt::join(allowed, ", "), option.why));
    };
    app.add_option_function<std::string>(option.flags, check)
        ->group("");  // --help names them in one place
  }
}

void add_library(CLI::App& app, Options& o) {
  add_choice(app, "--transport", o.transport, kTransports, "what carries the library's messages",
             "mpi|ucx  (default: mpi)");
  app.add_option("--codec-threads", o.communicator.codec_threads,
                 "threads of each rank that encode and decode; 0: one, or\n"
                 "more where cores are free")
      ->check(CLI::Range(0, 1024))
      ->option_text("N  (default: 0)");
  add_choice(app, "--shared-memory", o.communicator.shared_memory, kSwitch,
             "between ranks of one host; off: the network there, too", "on|off  (default: on)");
}

void add_rest(CLI::App& app, Options& o) {
  app.add_option("--input", o.input,
                 "values: normal random numbers; gradients of a real model;\n"
                 "those of a .npy file of 1 dimension, or of 2 with rows\n"
                 "for ranks")
      ->check(not_empty())
      ->option_text("random|gradients|FILE.npy  (default: random)");
  app.add_option("--seed", o.seed, "of random values and of stochastic rounding")
      ->option_text("N  (default: 0)");
  app.add_option_function<std::string>(
         "--segment",
         [&o](const std::string& text) {
           o.communicator.segment_bytes = parse_size("--segment", text);
         },
         "bytes that are encoded and sent at once")
      ->option_text("SIZE  (default: the library's)");
  add_library(app, o);
  app.add_option_function<double>(
         "-T,--timeout",
         [&o](double seconds) {
           if (seconds == 0) return;
           o.communicator.timeout =
               std::chrono::milliseconds(static_cast<long long>(seconds * 1e3));
         },
         "seconds after which a call of the library that makes no end\n"
         "is an error; 0: the default")
      ->check(seconds_or_0())
      ->option_text("S  (default: 1800)");
  add_choice(app, "--format", o.output, kOutputs, "what is printed",
             "table|csv|json|osu  (default: table)");
  app.add_flag("--breakdown", o.breakdown,
               "the table also tells the time in codecs and in waiting");
  app.add_option("-J,--output_file", o.json_file,
                 "write JSON to this file, too; one that is there stays:\n"
                 "FILE.1, FILE.2, ... are taken then")
      ->check(not_empty())
      ->option_text("FILE");
}

/// What no single option can find out.
void check_together(const Options& o) {
  const auto wrong = [](const std::string& what) { throw CLI::ValidationError(what); };
  if (o.min_bytes > o.max_bytes) {
    wrong(fmt::format("-b is {} and -e is {}: the first may not be above the second", o.min_bytes,
                      o.max_bytes));
  }
  if (o.step_factor == 1 && o.step_bytes == 0) wrong("-i is 0: allowed is 1 or more, or -f");
  if (o.step_factor == 1 && (o.max_bytes - o.min_bytes) / o.step_bytes >= kMostSizes) {
    wrong(
        fmt::format("-b {} to -e {} in steps of {} are too many sizes; allowed are {}: take a "
                    "larger -i, or -f",
                    o.min_bytes, o.max_bytes, o.step_bytes, kMostSizes));
  }
  const auto none = [](const std::vector<std::string>& names) {
    return std::ranges::find(names, "none") != names.end();
  };
  if (none(o.wires) && o.wires.size() > 1) wrong("--wire none stands alone");
  if (none(o.baselines) && o.baselines.size() > 1) wrong("--baseline none stands alone");
  if (none(o.wires) && none(o.baselines)) wrong("--wire none and --baseline none leave nothing");
}

template <typename T>
std::string joined(const std::vector<T>& values) {
  std::vector<std::string> names;
  for (const T& value : values) names.push_back(to_string(value));
  return fmt::format("{}", fmt::join(names, ","));
}

template <typename T>
std::string key_of(const std::map<std::string, T>& names, T value) {
  const auto is_value = [&](const auto& entry) { return entry.second == value; };
  return std::ranges::find_if(names, is_value)->first;
}

}  // namespace

std::string type_name(DataType type) { return key_of(kTypes, type); }

std::string to_string(const std::optional<Format>& inner) {
  return inner ? inner->to_string() : "wire";
}

std::string to_string(Options::Transport transport) { return key_of(kTransports, transport); }

std::vector<std::size_t> Options::sizes() const {
  const std::size_t value = size_of(type);
  const auto next = [&](std::size_t size) {
    if (step_factor == 1) return size + step_bytes;
    const std::size_t least = std::max<std::size_t>(size, 1);
    return least > max_bytes / step_factor ? max_bytes + 1 : least * step_factor;
  };
  std::vector<std::size_t> sizes;
  for (std::size_t size = min_bytes; size <= max_bytes; size = next(size)) {
    const std::size_t whole = size / value * value;
    if (sizes.empty() || whole > sizes.back()) sizes.push_back(whole);
  }
  return sizes;
}

std::vector<std::pair<std::string, std::string>> Options::named() const {
  return {{"minbytes", std::to_string(min_bytes)},
          {"maxbytes", std::to_string(max_bytes)},
          {"stepbytes", std::to_string(step_bytes)},
          {"stepfactor", std::to_string(step_factor)},
          {"iters", std::to_string(iterations)},
          {"warmup_iters", std::to_string(warmups)},
          {"check", std::to_string(checks)},
          {"time-limit", fmt::format("{}", time_limit)},
          {"average", std::to_string(static_cast<int>(average))},
          {"op", to_string(op)},
          {"datatype", type_name(type)},
          {"wire", fmt::format("{}", fmt::join(wires, ","))},
          {"algorithm", joined(algorithms)},
          {"across", joined(across)},
          {"inner", joined(inners)},
          {"accumulate", joined(accumulates)},
          {"result", joined(results)},
          {"scaling", joined(scalings)},
          {"rounding", joined(roundings)},
          {"in-place", in_place ? "true" : "false"},
          {"baseline", fmt::format("{}", fmt::join(baselines, ","))},
          {"input", input},
          {"seed", std::to_string(seed)},
          {"segment", std::to_string(communicator.segment_bytes)},
          {"transport", to_string(transport)},
          {"codec-threads", std::to_string(communicator.codec_threads)},
          {"shared-memory", key_of(kSwitch, communicator.shared_memory)}};
}

Parsed parse(int argc, const char* const* argv) {
  Parsed parsed;
  CLI::App app(kAbout, "cpd-allreduce-perf");
  app.footer(neutral_help() + kExamples);
  app.get_formatter()->column_width(34);
  add_amounts(app, parsed.options);
  add_sums(app, parsed.options);
  add_rest(app, parsed.options);
  add_neutral(app);
  try {
    app.parse(argc, argv);
    check_together(parsed.options);
  } catch (const CLI::ParseError& error) {
    std::ostringstream out, err;
    parsed.exit_code = app.exit(error, out, err) == 0 ? 0 : 2;
    parsed.message = out.str() + err.str();
  }
  return parsed;
}

}  // namespace cpdcomm::perf
