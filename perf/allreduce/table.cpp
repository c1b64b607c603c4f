// The table of nccl-tests, with columns of our own to its right.
#include <fmt/format.h>

#include <cstdio>

#include "allreduce/head.hpp"
#include "allreduce/writers.hpp"
#include "common/text.hpp"

namespace cpdcomm::perf {
namespace {

/// time, algbw, busbw and #wrong, which nccl-tests has once out of place and once in place.
std::string speed(const Result& result) {
  const std::string wrong = result.verdict ? fmt::format("{}", result.verdict->wrong) : "N/A";
  return fmt::format("  {:>7}  {:>6}  {:>6}  {:>6}", in_columns(result.median(), 7),
                     in_columns(result.algbw(), 6), in_columns(result.busbw(), 6), wrong);
}

std::string no_speed() {
  return fmt::format("  {:>7}  {:>6}  {:>6}  {:>6}", "N/A", "N/A", "N/A", "N/A");
}

template <typename T>
std::string or_dash(const std::optional<T>& value, fmt::format_string<T> format) {
  return value ? fmt::format(format, T(*value)) : "-";
}

/// What was asked for, and what was sent where `automatic` has declined to compress.
std::string wire_of(const Result& r) {
  const bool declined = !r.compressed.value_or(true) && !r.contender.options.wire.is_fp32();
  return r.contender.wire() + (declined ? ">fp32" : "");
}

/// The one taken; of hosts also what is between and inside them.
std::string algorithm_of(const Result& r) {
  if (!r.taken) return r.contender.algorithm();
  if (*r.taken != Algorithm::hierarchical) return to_string(*r.taken);
  const AllreduceOptions& o = r.contender.options;
  return fmt::format("{}:{}:{}", to_string(*r.taken), to_string(o.across), to_string(o.inner));
}

std::string accumulate_of(const Result& r) {
  if (r.contender.is_mpi) return "-";
  const AllreduceOptions& o = r.contender.options;
  return to_string(o.accumulate) + (o.result == cpdcomm::Result::wire ? ":wire" : "");
}

std::string breakdown(const Result& r) {
  const auto cell = [](const std::optional<double>& time) {
    return fmt::format("  {:>7}", time ? in_columns(*time, 7) : "-");
  };
  return cell(r.median_codec()) + cell(r.median_wait());
}

std::string row(const Result& r, bool with_breakdown) {
  const AllreduceOptions& o = r.contender.options;
  const bool ours = !r.contender.is_mpi;
  std::string line = fmt::format("{:>12}  {:>12}  {:>8}  {:>6}  {:>6}", r.size, r.count,
                                 type_name(r.contender.type), to_string(o.op), -1);
  line += r.in_place ? no_speed() + speed(r) : speed(r) + no_speed();
  line += fmt::format("  {:>10}  {:>9}  {:>10}  {:>8}  {:>12}", wire_of(r), algorithm_of(r),
                      accumulate_of(r), ours ? to_string(r.contender.scaling()) : "-",
                      ours ? to_string(o.rounding) : "-");
  line += fmt::format("  {:>7}  {:>7}", in_columns(r.smallest(), 7), in_columns(r.p99(), 7));
  const std::optional<double> bytes = r.wire ? std::optional(r.wire->mean) : std::nullopt;
  line += fmt::format("  {:>11}  {:>6}  {:>6}", or_dash(bytes, "{:.0f}"),
                      r.wire ? in_columns(*r.wirebw(), 6) : "-", or_dash(r.gain, "{:.2f}"));
  const bool checked = r.verdict.has_value();
  line +=
      fmt::format("  {:>8}  {:>9}  {:>7}", checked ? or_dash(r.verdict->rel_rms, "{:.1e}") : "-",
                  checked ? or_dash(r.verdict->max_error, "{:.1e}") : "-",
                  checked ? to_string(r.verdict->against) : "-");
  return with_breakdown ? line + breakdown(r) : line;
}

class Table final : public Writer {
 public:
  void begin(const Run& run) override {
    breakdown_ = run.options.breakdown;
    fmt::print("{}", head_of(run));
    fmt::print(
        "# {:>10}  {:>12}  {:>8}  {:>6}  {:>6}           out-of-place                       "
        "in-place          \n",
        "", "", "", "", "");
    const std::string speed =
        fmt::format("  {:>7}  {:>6}  {:>6}  {:>6}", "time", "algbw", "busbw", "#wrong");
    const std::string units =
        fmt::format("  {:>7}  {:>6}  {:>6}  {:>6}", "(us)", "(GB/s)", "(GB/s)", "");
    fmt::print("# {:>10}  {:>12}  {:>8}  {:>6}  {:>6}{}{}", "size", "count", "type", "redop",
               "root", speed, speed);
    fmt::print(
        "  {:>10}  {:>9}  {:>10}  {:>8}  {:>12}  {:>7}  {:>7}  {:>11}  {:>6}  {:>6}  {:>8}  "
        "{:>9}  {:>7}{}\n",
        "wire", "algorithm", "accumulate", "scaling", "rounding", "min", "p99", "wireB", "wirebw",
        "gain", "rel_rms", "max_error", "checked", breakdown_ ? "    codec     wait" : "");
    fmt::print("# {:>10}  {:>12}  {:>8}  {:>6}  {:>6}{}{}", "(B)", "(elements)", "", "", "", units,
               units);
    fmt::print(
        "  {:>10}  {:>9}  {:>10}  {:>8}  {:>12}  {:>7}  {:>7}  {:>11}  {:>6}  {:>6}  {:>8}  "
        "{:>9}  {:>7}{}\n",
        "", "", "", "", "", "(us)", "(us)", "(B)", "(GB/s)", "", "", "", "",
        breakdown_ ? "     (us)     (us)" : "");
    flush();
  }

  void size_done(const std::vector<Result>& results) override {
    for (const Result& result : results) fmt::print("{}\n", row(result, breakdown_));
    flush();
  }

  void end(const Run& run, const std::vector<Result>& all) override {
    double bandwidth = 0;
    for (const Result& result : all) bandwidth += result.busbw();
    const std::uint64_t wrong = count_wrong(all);
    fmt::print("# {:<20} : {} {}\n", "Out of bounds values", wrong, wrong == 0 ? "OK" : "FAILED");
    fmt::print("# {:<20} : {:g} \n#\n", "Avg bus bandwidth",
               all.empty() ? 0 : bandwidth / static_cast<double>(all.size()));
    fmt::print("# Collective test concluded: {}\n#\n", run.command.front());
    flush();
  }

 private:
  bool breakdown_ = false;
};

}  // namespace

std::unique_ptr<Writer> make_table() { return std::make_unique<Table>(); }

}  // namespace cpdcomm::perf
