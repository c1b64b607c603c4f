#include "simulation/output.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <array>
#include <nlohmann/json.hpp>

#include "common/text.hpp"
#include "cpdcomm/version.hpp"
#include "simulation/network.hpp"

namespace cpdcomm::perf {
namespace {

using Json = nlohmann::ordered_json;

double us(double seconds) { return seconds * 1e6; }

/// A time as people say it, with three digits.
std::string in_words(double seconds) {
  constexpr std::array kUnits{"us", "ms", "s"};
  double value = us(seconds);
  std::size_t unit = 0;
  for (; value >= 999.5 && unit + 1 < kUnits.size(); ++unit) value /= 1000;
  return fmt::format("{:.{}f} {}", value, value < 9.995 ? 2 : value < 99.95 ? 1 : 0, kUnits[unit]);
}

std::string line_of(const Row& row) {
  return fmt::format("{} {:>8} {:>6} {:>9} {:>10} {:>29} {:>9} {:>9} {:>9} {:>9} {:>6} {:>6}\n",
                     row.fastest ? '*' : ' ', row.network, row.ranks, in_bytes(row.size), row.wire,
                     row.algorithm, in_words(row.cost.seconds), in_words(row.cost.latency),
                     in_words(row.cost.wire), in_words(row.cost.codec), row.cost.casts,
                     in_columns(row.gain, 6));
}

Json json_of(const Row& row) {
  return {{"network", row.network},
          {"ranks", row.ranks},
          {"ranks_per_host", row.ranks_per_host},
          {"size", row.size},
          {"wire", row.wire},
          {"algorithm", row.algorithm},
          {"time_us", us(row.cost.seconds)},
          {"latency_us", us(row.cost.latency)},
          {"wire_us", us(row.cost.wire)},
          {"codec_us", us(row.cost.codec)},
          {"casts", row.cost.casts},
          {"gain", row.gain},
          {"best_of_format", row.best},
          {"fastest", row.fastest}};
}

Json networks_of(const Options& options) {
  Json networks = Json::array();
  for (const std::string& name : options.networks) {
    const schedule::Network network = network_of(name, options);
    networks.push_back({{"name", name},
                        {"latency_inside_us", us(network.latency_inside)},
                        {"latency_across_us", us(network.latency_across)},
                        {"inside_bytes_per_second", network.inside_bytes_per_second},
                        {"across_bytes_per_second", network.across_bytes_per_second},
                        {"overhead_us", us(network.cpu_seconds_per_message)},
                        {"cpu_bytes_per_second", network.cpu_bytes_per_second}});
  }
  return networks;
}

}  // namespace

std::string to_table(const Options& options, const std::vector<Row>& rows) {
  std::string text = fmt::format("# cpd-simulate {}: predicted, not measured\n", version());
  for (const std::string& name : options.networks) {
    const schedule::Network network = network_of(name, options);
    text += fmt::format("# {}: ", name);
    if (name != kOneHost) {
      text +=
          fmt::format("{:.4g} MB/s of payload each way, {:.4g} MB/s of CPU, latency {}; inside ",
                      network.across_bytes_per_second / 1e6, network.cpu_bytes_per_second / 1e6,
                      in_words(network.latency_across));
    }
    text += fmt::format("{:.4g} MB/s for each rank, latency {}; {} of CPU for a message\n",
                        network.inside_bytes_per_second / 1e6, in_words(network.latency_inside),
                        in_words(network.cpu_seconds_per_message));
  }
  text += fmt::format("# {} on each host; segments of {}; {}\n", options.ranks_per_host,
                      in_bytes(options.segment),
                      options.all ? "all algorithms" : "of each format the fastest algorithm");
  text += "# *: the fastest of its network, ranks and size; gain: over the fastest FP32\n";
  text += fmt::format("#{:>9} {:>6} {:>9} {:>10} {:>29} {:>9} {:>9} {:>9} {:>9} {:>6} {:>6}\n",
                      "network", "ranks", "size", "format", "algorithm", "time", "latency", "wire",
                      "codec", "casts", "gain");
  for (const Row& row : rows) {
    if (row.best || options.all) text += line_of(row);
  }
  return text;
}

std::string to_csv(const std::vector<Row>& rows) {
  std::string text =
      "network,ranks,ranks_per_host,size,wire,algorithm,time_us,latency_us,wire_us,codec_us,casts,"
      "gain,best_of_format,fastest\n";
  for (const Row& row : rows) {
    text +=
        fmt::format("{},{},{},{},{},{},{:.6g},{:.6g},{:.6g},{:.6g},{},{:.6g},{:d},{:d}\n",
                    row.network, row.ranks, row.ranks_per_host, row.size, row.wire, row.algorithm,
                    us(row.cost.seconds), us(row.cost.latency), us(row.cost.wire),
                    us(row.cost.codec), row.cost.casts, row.gain, row.best, row.fastest);
  }
  return text;
}

std::string to_json(const Options& options, const std::vector<std::string>& command,
                    const std::vector<Row>& rows) {
  Json all{{"schema", "cpd-simulate/1"},
           {"program", "cpd-simulate"},
           {"version", version()},
           {"date", date_now()},
           {"command", command},
           {"scaling", to_string(options.scaling)},
           {"inner", options.inner},
           {"segment", options.segment},
           {"networks", networks_of(options)},
           {"results", Json::array()}};
  for (const Row& row : rows) all["results"].push_back(json_of(row));
  // What is not UTF-8 in the command is no reason to lose the results.
  return all.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace cpdcomm::perf
