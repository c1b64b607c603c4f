#include "simulation/options.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <array>

#include "common/arguments.hpp"
#include "common/exit_codes.hpp"
#include "common/output_file.hpp"
#include "simulation/help.hpp"
#include "simulation/network.hpp"
#include "simulation/rows.hpp"

namespace cpdcomm::perf {
namespace {

constexpr int kMostRanks = 1 << 24;
constexpr double kMostSeconds = 10;

/// A time with its unit: 20us, 1.5ms, 0.1s.
std::optional<double> parse_time(const std::string& text) {
  const std::map<std::string, double> units{{"ns", 1e-9}, {"us", 1e-6}, {"ms", 1e-3}, {"s", 1}};
  std::size_t end = 0;
  try {
    const double number = std::stod(text, &end);
    const auto unit = units.find(text.substr(end));
    if (unit == units.end()) return std::nullopt;
    const double seconds = number * unit->second;
    return seconds >= 0 && seconds <= kMostSeconds ? std::optional(seconds) : std::nullopt;
  } catch (const std::exception&) {
    return std::nullopt;
  }
}

CLI::Validator is_network() {
  return CLI::Validator(
      [](const std::string& text) -> std::string {
        if (text == kOneHost || parse_rate(text)) return {};
        return fmt::format(
            "'{}' is no network; allowed is the rate of a host's link, such as 100mbit, 1gbit, "
            "10gbit, 25gbit or 100gbit, or host",
            text);
      },
      "");
}

/// An option for a time.
template <typename Time>
CLI::Option* add_time(CLI::App& app, const std::string& flag, Time& to, const std::string& about) {
  return app.add_option_function<std::string>(
      flag,
      [flag, &to](const std::string& text) {
        const std::optional<double> seconds = parse_time(text);
        if (!seconds) {
          throw CLI::ValidationError(
              flag, fmt::format("'{}' is no time; allowed are 0 to {} s with ns, us, ms or s, such "
                                "as 20us",
                                text, kMostSeconds));
        }
        to = *seconds;
      },
      about);
}

/// An option for a rate.
CLI::Option* add_rate(CLI::App& app, const std::string& flag, double& to,
                      const std::string& about) {
  return app.add_option_function<std::string>(
      flag,
      [flag, &to](const std::string& text) {
        const std::optional<double> rate = parse_rate(text);
        if (!rate) {
          throw CLI::ValidationError(
              flag,
              fmt::format("'{}' is no rate; allowed is a number with kbit, mbit or gbit, such "
                          "as 40gbit",
                          text));
        }
        to = *rate;
      },
      about);
}

/// NAME=ENCODE/DECODE/JOIN in 10^9 bytes of FP32 per second.
void add_codec_rate(const std::string& text, Options& options) {
  const std::size_t equals = text.find('=');
  std::array<double, 3> rates{};
  char rest = 0;
  const bool is_right = equals != std::string::npos &&
                        std::sscanf(text.c_str() + equals + 1, "%lf/%lf/%lf%c", &rates[0],
                                    &rates[1], &rates[2], &rest) == 3 &&
                        rates[0] > 0 && rates[1] > 0 && rates[2] > 0;
  if (!is_right) {
    throw CLI::ValidationError(
        "--codec-rate",
        fmt::format("'{}' is no rate; allowed is NAME=ENCODE/DECODE/JOIN in GB/s of "
                    "FP32, such as e4m3=19/17/7.6",
                    text));
  }
  const std::string name = text.substr(0, equals);
  const double scan = schedule::builtin_codec_rates(Format::parse(name)).scan;
  options.codec_rates[name] = {rates[0] * 1e9, rates[1] * 1e9, rates[2] * 1e9, scan};
}

void add_places(CLI::App& app, Options& o) {
  app.add_option("--network,--rate", o.networks,
                 "rate of each host's link, each way, or host: all\nranks on one host")
      ->delimiter(',')
      ->check(is_network())
      ->option_text("1gbit,10gbit,...,host  (default: 10gbit)");
  app.add_option("--ranks", o.ranks, "how many take part")
      ->delimiter(',')
      ->check(CLI::Range(1, kMostRanks))
      ->option_text("N,...  (default: 4,64,1024,65536)");
  app.add_option("--ranks-per-host", o.ranks_per_host, "that share a host's link")
      ->check(CLI::Range(1, kMostRanks))
      ->option_text("N  (default: 1)");
  app.add_option_function<std::vector<std::string>>(
         "--sizes",
         [&o](const std::vector<std::string>& texts) {
           o.sizes.clear();
           for (const std::string& text : texts) o.sizes.push_back(parse_size("--sizes", text));
         },
         "of the vector in FP32")
      ->delimiter(',')
      ->option_text("SIZE,...  (default: 64K,1M,16M,256M)");
}

void add_sums(CLI::App& app, Options& o) {
  const auto is_format = accepted_by([](const std::string& name) { Format::parse(name); });
  app.add_option("--wire", o.wires, "wire formats, as for cpd-allreduce-perf")
      ->delimiter(',')
      ->check(is_format)
      ->option_text("NAME,...  (default: fp32,e5m2,e4m3,e3m0)");
  app.add_option(
         "--algorithm", o.algorithms,
         fmt::format("of {} (default: all that differ)", fmt::join(algorithm_names(), ",\n")))
      ->delimiter(',')
      ->check(CLI::IsMember(algorithm_names()))
      ->option_text("NAME,...");
  app.add_option("--inner", o.inner, "format inside hosts under hierarchical_...")
      ->check(accepted_by([](const std::string& name) {
        if (name != "wire") Format::parse(name);
      }))
      ->option_text("NAME|wire  (default: fp32)");
  app.add_option_function<std::string>(
         "--scaling", [&o](const std::string& name) { o.scaling = parse_scaling(name); },
         "shared exponents, which float formats but fp32 need;\naps:N overlaps their pass")
      ->check(accepted_by(parse_scaling))
      ->option_text("automatic|none|aps|aps:N  (default: automatic)");
}

void add_speeds(CLI::App& app, Options& o) {
  add_time(app, "--latency", o.latency, "of a message between hosts")
      ->option_text("TIME  (default: 20us)");
  add_time(app, "--inside-latency", o.inside_latency, "of a message inside a host")
      ->option_text("TIME  (default: 1us)");
  add_time(app, "--overhead", o.overhead,
           "of a rank's processor for a message sent and\none received")
      ->option_text("TIME  (default: 5us; host: 500ns)");
  add_rate(app, "--inside-rate", o.inside_rate, "of each rank, each way, inside a host")
      ->option_text("RATE  (default: 40gbit)");
  add_rate(app, "--cpu-rate", o.cpu_rate,
           "at which a rank's processor sends to or receives\nfrom other hosts")
      ->option_text("RATE  (default: 20gbit)");
  app.add_option_function<std::vector<std::string>>(
         "--codec-rate",
         [&o](const std::vector<std::string>& texts) {
           for (const std::string& text : texts) add_codec_rate(text, o);
         },
         "GB/s of FP32 that a rank encodes, decodes, and joins\n(decode_add_encode)")
      ->delimiter(',')
      ->option_text("NAME=E/D/J,...  (default: measured ones)");
  app.add_option_function<std::string>(
         "--segment", [&o](const std::string& text) { o.segment = parse_size("--segment", text); },
         "bytes that are encoded and sent at once")
      ->option_text("SIZE  (default: 60K, the library's)");
}

void add_output(CLI::App& app, Options& o) {
  app.add_flag("--all", o.all, "in the table all algorithms, not the fastest of each\nformat");
  app.add_option("--format", o.format, "of the results on stdout")
      ->check(CLI::IsMember(std::vector<std::string>{"table", "csv", "json"}))
      ->option_text("table|csv|json  (default: table)");
  app.add_option("-J,--output_file", o.output_file,
                 "write JSON, too; if FILE exists, to FILE.1, FILE.2, ...")
      ->check(CLI::Validator(why_not_writable, "FILE"))
      ->option_text("FILE");
}

/// What no single option can find out.
void check_together(const Options& o) {
  const auto wrong = [](const std::string& what) { throw CLI::ValidationError(what); };
  if (o.segment == 0) wrong("--segment is 0; allowed is 1 or more");
  for (const int ranks : o.ranks) {
    if (ranks % o.ranks_per_host == 0) continue;
    wrong(fmt::format("--ranks {} with --ranks-per-host {}: allowed are multiples of {}", ranks,
                      o.ranks_per_host, o.ranks_per_host));
  }
}

}  // namespace

std::optional<int> parse(int argc, const char* const* argv, Options& options) {
  CLI::App app(kAbout, "cpd-simulate");
  app.footer(kExamples);
  app.get_formatter()->column_width(34);
  add_places(app, options);
  add_sums(app, options);
  add_speeds(app, options);
  add_output(app, options);
  try {
    app.parse(argc, argv);
    check_together(options);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kDone : kFailed;
  }
  return std::nullopt;
}

}  // namespace cpdcomm::perf
