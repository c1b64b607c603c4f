#include "environment.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <numeric>
#include <string_view>
#include <vector>

#include "cpdcomm/error.hpp"

extern char** environ;

namespace cpdcomm {
namespace {

constexpr std::string_view kPrefix = "CPDCOMM_";

/// Seconds as people write them ("60", "0.5") in milliseconds.
std::chrono::milliseconds parse_seconds(std::string_view text) {
  double seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (error != std::errc{} || end != text.data() + text.size() || !(seconds > 0) || seconds > 1e9) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("'{}' is no time: a positive number of seconds is", text));
  }
  return std::chrono::milliseconds(std::max<long long>(1, static_cast<long long>(seconds * 1e3)));
}

/// @param what  for people: what an integer of the type `T` from 0 on would be
template <typename T>
T parse_count(std::string_view text, std::string_view what) {
  T count = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
  if (error != std::errc{} || end != text.data() + text.size() || count < T{0}) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("'{}' is no {}: an integer from 0 to 2^{} - 1 is", text, what,
                            std::numeric_limits<T>::digits));
  }
  return count;
}

bool parse_switch(std::string_view text) {
  if (text == "on") return true;
  if (text == "off") return false;
  throw Error(ErrorCode::invalid_argument, fmt::format("unknown '{}': known are on, off", text));
}

bool parse_check(std::string_view text) {
  if (text == "1") return true;
  if (text == "" || text == "0") return false;
  throw Error(ErrorCode::invalid_argument, fmt::format("unknown '{}': known are 0, 1", text));
}

bool parse_debug(std::string_view text) {
  if (text == "info") return true;
  if (text == "" || text == "off") return false;
  throw Error(ErrorCode::invalid_argument, fmt::format("unknown '{}': known are off, info", text));
}

std::string parse_transport(std::string_view text) {
  if (text == "auto" || text == "mpi" || text == "ucx") return std::string(text);
  throw Error(ErrorCode::invalid_argument,
              fmt::format("unknown transport '{}': known are auto, mpi, ucx", text));
}

/// One row for each variable: the one place that knows its name.
struct Variable {
  std::string_view name;
  void (*read)(std::string_view text, Environment& settings);
};

constexpr std::array kVariables = {
    Variable{"CPDCOMM_WIRE",
             [](std::string_view text, Environment& s) { s.options.wire = Format::parse(text); }},
    Variable{"CPDCOMM_SCALING", [](std::string_view text,
                                   Environment& s) { s.options.scaling = parse_scaling(text); }},
    Variable{"CPDCOMM_ACCUMULATE",
             [](std::string_view text, Environment& s) {
               s.options.accumulate = parse_accumulate(text);
             }},
    Variable{
        "CPDCOMM_ALGORITHM",
        [](std::string_view text, Environment& s) { s.options.algorithm = parse_algorithm(text); }},
    Variable{"CPDCOMM_ACROSS", [](std::string_view text,
                                  Environment& s) { s.options.across = parse_algorithm(text); }},
    Variable{"CPDCOMM_INNER",
             [](std::string_view text, Environment& s) { s.options.inner = parse_inner(text); }},
    Variable{"CPDCOMM_RESULT",
             [](std::string_view text, Environment& s) { s.options.result = parse_result(text); }},
    Variable{"CPDCOMM_ROUNDING", [](std::string_view text,
                                    Environment& s) { s.options.rounding = parse_rounding(text); }},
    Variable{"CPDCOMM_SEED",
             [](std::string_view text, Environment& s) {
               s.options.seed = parse_count<std::uint32_t>(text, "seed");
             }},
    Variable{"CPDCOMM_TIMEOUT", [](std::string_view text,
                                   Environment& s) { s.options.timeout = parse_seconds(text); }},
    Variable{"CPDCOMM_TUNING", [](std::string_view text, Environment& s) { s.tuning = text; }},
    Variable{"CPDCOMM_CHECK",
             [](std::string_view text, Environment& s) { s.check = parse_check(text); }},
    Variable{"CPDCOMM_SHARED_MEMORY",
             [](std::string_view text, Environment& s) { s.shared_memory = parse_switch(text); }},
    Variable{"CPDCOMM_CODEC_THREADS",
             [](std::string_view text, Environment& s) {
               s.codec_threads = parse_count<int>(text, "number of threads");
             }},
    Variable{"CPDCOMM_SEGMENT_BYTES",
             [](std::string_view text, Environment& s) {
               s.segment_bytes = parse_count<std::size_t>(text, "number of bytes");
             }},
    Variable{"CPDCOMM_MIN_BYTES",
             [](std::string_view text, Environment& s) {
               s.selection.min_bytes = parse_count<std::size_t>(text, "number of bytes");
             }},
    Variable{"CPDCOMM_COLLECTIVES",
             [](std::string_view text, Environment& s) {
               const std::size_t min_bytes = s.selection.min_bytes;
               s.selection = parse_collectives(text);
               s.selection.min_bytes = min_bytes;
             }},
    Variable{"CPDCOMM_TRANSPORT",
             [](std::string_view text, Environment& s) { s.transport = parse_transport(text); }},
    Variable{"CPDCOMM_DEBUG",
             [](std::string_view text, Environment& s) { s.debug = parse_debug(text); }},
};

/// What programs sum besides their gradients is smaller: counts, losses, metrics.
constexpr std::size_t kMinBytes = 4096;

/// Levenshtein's distance: how many letters differ.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0u);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0]++;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

void warn_unknown(std::string_view name) {
  const auto nearest = std::min_element(kVariables.begin(), kVariables.end(),
                                        [&](const Variable& a, const Variable& b) {
                                          return distance(name, a.name) < distance(name, b.name);
                                        });
  fmt::print(stderr, "cpdcomm: unknown variable {}; did you mean {}?\n", name, nearest->name);
}

void read_variable(std::string_view name, std::string_view text, Environment& settings) {
  const auto known = std::find_if(kVariables.begin(), kVariables.end(),
                                  [&](const Variable& v) { return v.name == name; });
  if (known == kVariables.end()) {
    warn_unknown(name);
    return;
  }
  try {
    known->read(text, settings);
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("{}: {}", name, error.what()));
  }
}

/// As parse_collectives() reads it.
std::string collectives(const Selection& selection) {
  std::vector<std::string_view> names;
  if (selection.all_reduce) names.push_back("all_reduce");
  if (selection.reduce_scatter) names.push_back("reduce_scatter");
  if (selection.all_gather) names.push_back("all_gather");
  return fmt::format("{}", fmt::join(names, ","));
}

Environment read_environment() {
  Environment settings;
  settings.selection.min_bytes = kMinBytes;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const std::size_t equals = text.find('=');
    if (!text.starts_with(kPrefix) || equals == std::string_view::npos) continue;
    read_variable(text.substr(0, equals), text.substr(equals + 1), settings);
  }
  if (settings.debug) {
    const AllreduceOptions& o = settings.options;
    fmt::print(
        stderr,
        "cpdcomm: from the environment: wire={} scaling={} accumulate={} algorithm={} "
        "across={} inner={} result={} rounding={} seed={} timeout={} tuning={} check={} "
        "shared_memory={} codec_threads={} segment_bytes={} min_bytes={} collectives={} "
        "transport={}\n",
        o.wire.to_string(), to_string(o.scaling), to_string(o.accumulate), to_string(o.algorithm),
        to_string(o.across), o.inner ? o.inner->to_string() : "wire", to_string(o.result),
        to_string(o.rounding), o.seed ? std::to_string(*o.seed) : "default",
        o.timeout.count() > 0 ? fmt::format("{} ms", o.timeout.count()) : "default",
        settings.tuning.empty() ? "built in" : settings.tuning, settings.check ? 1 : 0,
        settings.shared_memory ? "on" : "off", settings.codec_threads, settings.segment_bytes,
        settings.selection.min_bytes, collectives(settings.selection), settings.transport);
  }
  return settings;
}

}  // namespace

const Environment& environment() {
  static const Environment settings = read_environment();
  return settings;
}

const AllreduceOptions& environment_options() { return environment().options; }
const Selection& environment_selection() { return environment().selection; }
const std::string& environment_transport() { return environment().transport; }
bool environment_debug() { return environment().debug; }

Selection parse_collectives(std::string_view text) {
  Selection selection{.all_reduce = false};
  while (!text.empty()) {
    const std::string_view name = text.substr(0, text.find(','));
    text.remove_prefix(std::min(text.size(), name.size() + 1));
    if (name == "all_reduce") {
      selection.all_reduce = true;
    } else if (name == "reduce_scatter") {
      selection.reduce_scatter = true;
    } else if (name == "all_gather") {
      selection.all_gather = true;
    } else {
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("unknown collective '{}': known are all_reduce, reduce_scatter, "
                              "all_gather",
                              name));
    }
  }
  return selection;
}

}  // namespace cpdcomm
