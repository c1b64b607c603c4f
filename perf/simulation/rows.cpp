#include "simulation/rows.hpp"

#include <algorithm>
#include <array>
#include <iterator>

#include "simulation/network.hpp"

namespace cpdcomm::perf {
namespace {

using schedule::Coding;
using schedule::Shape;
using schedule::Task;

struct Method {
  const char* name;
  Shape shape;
  bool hierarchical;
};
constexpr std::array kMethods{
    Method{"direct", Shape::direct, false},
    Method{"ring", Shape::ring, false},
    Method{"tree", Shape::tree, false},
    Method{"halving_doubling", Shape::halving_doubling, false},
    Method{"exchange", Shape::exchange, false},
    Method{"hierarchical_direct", Shape::direct, true},
    Method{"hierarchical_ring", Shape::ring, true},
    Method{"hierarchical_tree", Shape::tree, true},
    Method{"hierarchical_halving_doubling", Shape::halving_doubling, true}};

constexpr double kExponentBits = 16;
constexpr double kNoTime = 1e30;  // bytes per second

bool is_asked_for(const Method& method, int hosts, int ranks_per_host, const Options& options) {
  // With one rank on each host, or one host, a flat schedule does the same.
  if (options.algorithms.empty()) return !method.hierarchical || (hosts > 1 && ranks_per_host > 1);
  return std::ranges::find(options.algorithms, method.name) != options.algorithms.end();
}

bool has_exponents(Format format, const Options& options) {
  return format.is_float() && !format.is_fp32() && options.scaling.kind != Scaling::Kind::none;
}

Coding coding_of(const std::string& name, const Options& options) {
  const Format format = Format::parse(name);
  double bits = info(format).bits_with_scales;
  const auto given = options.codec_rates.find(name);
  schedule::CodecRates rates =
      given == options.codec_rates.end() ? schedule::builtin_codec_rates(format) : given->second;
  if (has_exponents(format, options) && options.scaling.group > 0) {
    // Exponents of a group travel while the group before is summed, and so does the pass for them.
    bits += kExponentBits / static_cast<double>(options.scaling.group);
    rates.scan = kNoTime;
  }
  return {{bits, bits, bits}, rates};
}

/// What the rows of one network, number of ranks and size have in common.
struct Place {
  std::string network;
  int hosts;
  int ranks_per_host;
  std::size_t size;
};

Row row_of(const Place& place, const std::string& wire, const Method& method,
           const Options& options) {
  const std::string& inner = options.inner == "wire" ? wire : options.inner;
  const Task task{method.shape,
                  method.hierarchical,
                  place.hosts,
                  place.ranks_per_host,
                  static_cast<double>(place.size),
                  coding_of(wire, options),
                  coding_of(inner, options),
                  static_cast<double>(options.segment),
                  has_exponents(Format::parse(wire), options) ? 1 : 0};
  return {place.network,
          place.hosts * place.ranks_per_host,
          place.ranks_per_host,
          place.size,
          wire,
          method.name,
          predict(network_of(place.network, options), task)};
}

bool is_faster(const Row& a, const Row& b) { return a.cost.seconds < b.cost.seconds; }

/// The rows of one format in one place, the fastest marked.
std::vector<Row> rows_of(const Place& place, const std::string& wire, const Options& options) {
  std::vector<Row> rows;
  for (const Method& method : kMethods) {
    if (!is_asked_for(method, place.hosts, place.ranks_per_host, options)) continue;
    rows.push_back(row_of(place, wire, method, options));
  }
  std::ranges::min_element(rows, is_faster)->best = true;
  return rows;
}

std::vector<Row> rows_of(const Place& place, const Options& options) {
  std::vector<Row> rows;
  for (const std::string& wire : options.wires)
    std::ranges::move(rows_of(place, wire, options), std::back_inserter(rows));
  std::ranges::min_element(rows, is_faster)->fastest = true;
  const std::vector<Row> fp32 = rows_of(place, "fp32", options);
  const double best = std::ranges::min_element(fp32, is_faster)->cost.seconds;
  for (Row& row : rows) row.gain = row.cost.seconds > 0 ? best / row.cost.seconds : 1;
  return rows;
}

}  // namespace

std::vector<std::string> algorithm_names() {
  std::vector<std::string> names;
  for (const Method& method : kMethods) names.emplace_back(method.name);
  return names;
}

std::vector<Row> predict_all(const Options& options) {
  std::vector<Row> all;
  for (const std::string& network : options.networks) {
    for (const int ranks : options.ranks) {
      const int per_host = network == kOneHost ? ranks : options.ranks_per_host;
      for (const std::size_t size : options.sizes) {
        std::ranges::move(rows_of({network, ranks / per_host, per_host, size}, options),
                          std::back_inserter(all));
      }
    }
  }
  return all;
}

}  // namespace cpdcomm::perf
