#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string_view>

#include "collective/tuning/builtin.hpp"
#include "collective/tuning/table.hpp"
#include "cpdcomm/error.hpp"

namespace cpdcomm::collective::tuning {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kSchema = "cpdcomm-tuning/1";
constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// A value of the file with its place in it, so that every error says where it is.
class Node {
 public:
  Node(const Json& json, std::string file, std::string path)
      : json_(json), file_(std::move(file)), path_(std::move(path)) {}

  [[noreturn]] void wrong(const std::string& allowed) const {
    constexpr std::size_t kMostShown = 60;
    std::string value = json_.dump(-1, ' ', false, Json::error_handler_t::replace);
    if (value.size() > kMostShown) value = value.substr(0, kMostShown) + " ...";
    fail(
        fmt::format("{} is {}; allowed is {}", path_.empty() ? "the file" : path_, value, allowed));
  }

  /// An object with no other fields than these.
  const Node& object(std::initializer_list<std::string_view> fields) const {
    if (!json_.is_object()) wrong("an object");
    for (const auto& [name, value] : json_.items()) {
      if (std::ranges::find(fields, name) != fields.end()) continue;
      fail(fmt::format("unknown field '{}'; known are {}", below(name), fmt::join(fields, ", ")));
    }
    return *this;
  }
  bool has(const char* name) const { return json_.contains(name); }
  Node operator[](const char* name) const {
    if (!has(name)) fail(fmt::format("field '{}' is missing", below(name)));
    return {json_.at(name), file_, below(name)};
  }
  /// Every element of a list; none where the list is left out.
  template <typename Each>
  void each(const char* name, Each&& each) const {
    if (!has(name)) return;
    const Node list = (*this)[name];
    if (!list.json_.is_array()) list.wrong("a list");
    std::size_t i = 0;
    for (const Json& one : list.json_) {
      each(Node(one, file_, fmt::format("{}[{}]", list.path_, i++)));
    }
  }
  double number(double least, double most, const char* allowed) const {
    if (!json_.is_number()) wrong(allowed);
    const auto value = json_.get<double>();
    if (!(value >= least && value <= most)) wrong(allowed);
    return value;
  }
  double at_least_0() const { return number(0, 1e18, "a number from 0 to 1e18"); }
  double above_0() const { return number(1e-18, 1e18, "a number above 0, up to 1e18"); }
  std::size_t integer(double least, double most, const char* allowed) const {
    if (!json_.is_number_integer()) wrong(allowed);
    return static_cast<std::size_t>(number(least, most, allowed));
  }
  std::string text(const char* allowed) const {
    if (!json_.is_string()) wrong(allowed);
    return json_.get<std::string>();
  }
  Format format() const {
    const std::string name = text("the name of a format");
    try {
      return Format::parse(name);
    } catch (const Error& error) {
      fail(fmt::format("{}: {}", path_, error.what()));
    }
  }
  /// Element `i` of a pair of numbers.
  double of_pair(std::size_t i) const {
    if (!json_.is_array() || json_.size() != 2) wrong("a pair [bytes, seconds]");
    return Node(json_[i], file_, fmt::format("{}[{}]", path_, i)).above_0();
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::invalid_argument, fmt::format("tuning table {}: {}", file_, what));
  }
  std::string below(std::string_view name) const {
    return path_.empty() ? std::string(name) : fmt::format("{}.{}", path_, name);
  }

  const Json& json_;
  std::string file_;
  std::string path_;
};

Curve curve_of(const Node& node, const char* name) {
  Curve curve;
  node.each(name, [&](const Node& point) {
    const Point next{point.of_pair(0), point.of_pair(1)};
    if (!curve.empty() && next.bytes <= curve.back().bytes) {
      point.wrong(fmt::format("bytes above those of the pair before, {}", curve.back().bytes));
    }
    curve.push_back(next);
  });
  return curve;
}

constexpr std::array kFlat{Algorithm::direct, Algorithm::ring, Algorithm::tree,
                           Algorithm::halving_doubling};
constexpr const char* kFlatNames = "one of direct, ring, tree, halving_doubling";
constexpr const char* kWayNames =
    "one of direct, ring, tree, halving_doubling, hierarchical, exchange";

Algorithm flat_of(const Node& node) {
  const std::string name = node.text(kFlatNames);
  for (const Algorithm algorithm : kFlat) {
    if (cpdcomm::to_string(algorithm) == name) return algorithm;
  }
  node.wrong(kFlatNames);
}

Way way_of(const Node& node) {
  Way way;
  const Node algorithm = node["algorithm"];
  const std::string name = algorithm.text(kWayNames);
  const auto is_name = [&](Algorithm flat) { return cpdcomm::to_string(flat) == name; };
  const auto found = std::ranges::find_if(kFlat, is_name);
  if (found != kFlat.end()) {
    way.algorithm = *found;
  } else if (name == "hierarchical") {
    way.algorithm = Algorithm::hierarchical;
    way.across = flat_of(node["across"]);
  } else if (name == "exchange") {
    way.exchange = true;
  } else {
    algorithm.wrong(kWayNames);
  }
  if (node.has("segment_bytes")) {
    static const std::string allowed = fmt::format("an integer from 64 to {}", kLargestSegment);
    way.segment_bytes = node["segment_bytes"].integer(64, kLargestSegment, allowed.c_str());
  }
  return way;
}

Rule rule_of(const Node& node) {
  node.object({"min_bytes", "max_bytes", "wire", "algorithm", "across", "segment_bytes"});
  Rule rule;
  if (node.has("min_bytes")) rule.min_bytes = node["min_bytes"].at_least_0();
  if (node.has("max_bytes")) rule.max_bytes = node["max_bytes"].at_least_0();
  if (node.has("wire")) rule.wire = node["wire"].format();
  rule.native = node["algorithm"].text("native, or the name of an algorithm") == "native";
  if (!rule.native) rule.way = way_of(node);
  return rule;
}

Measured measured_of(const Node& node) {
  node.object({"algorithm", "across", "segment_bytes", "wire", "times"});
  Measured measured{way_of(node), node["wire"].format(), curve_of(node, "times")};
  if (measured.times.empty()) node["times"].wrong("one pair [bytes, seconds] or more");
  return measured;
}

schedule::Network network_of(const Node& node) {
  node.object({"latency_inside", "latency_across", "inside_bytes_per_second",
               "across_bytes_per_second", "cpu_seconds_per_message", "cpu_bytes_per_second"});
  return {.latency_inside = node["latency_inside"].at_least_0(),
          .latency_across = node["latency_across"].at_least_0(),
          .inside_bytes_per_second = node["inside_bytes_per_second"].above_0(),
          .across_bytes_per_second = node["across_bytes_per_second"].above_0(),
          .cpu_seconds_per_message = node["cpu_seconds_per_message"].at_least_0(),
          .cpu_bytes_per_second = node["cpu_bytes_per_second"].above_0()};
}

Profile profile_of(const Node& node) {
  node.object({"transport", "hosts", "ranks", "network", "call_seconds", "native", "own", "rules"});
  constexpr double kMostRanks = 1 << 30;
  Profile profile;
  profile.transport = node["transport"].text("the name of a transport, or any");
  profile.ranks = static_cast<int>(node["ranks"].integer(1, kMostRanks, "an integer from 1"));
  profile.hosts = static_cast<int>(
      node["hosts"].integer(1, profile.ranks, "an integer from 1 to the number of ranks"));
  profile.network = network_of(node["network"]);
  profile.call_seconds = node["call_seconds"].at_least_0();
  profile.native = curve_of(node, "native");
  node.each("own", [&](const Node& one) { profile.own.push_back(measured_of(one)); });
  node.each("rules", [&](const Node& one) { profile.rules.push_back(rule_of(one)); });
  return profile;
}

Codec codec_of(const Node& node) {
  node.object({"wire", "encode", "decode", "join", "scan"});
  return {node["wire"].format(),
          {.encode = node["encode"].above_0(),
           .decode = node["decode"].above_0(),
           .join = node["join"].above_0(),
           .scan = node["scan"].above_0()}};
}

Table table_of(const Node& node) {
  node.object({"schema", "about", "margin", "codecs", "profiles"});
  const Node schema = node["schema"];
  if (schema.text(kSchema) != kSchema) schema.wrong(kSchema);
  Table table;
  if (node.has("about")) table.about = node["about"].text("a text");
  if (node.has("margin")) table.margin = node["margin"].number(0, 0.9, "a number from 0 to 0.9");
  node.each("codecs", [&](const Node& one) { table.codecs.push_back(codec_of(one)); });
  node.each("profiles", [&](const Node& one) { table.profiles.push_back(profile_of(one)); });
  return table;
}

Json json_of(const Curve& curve) {
  Json json = Json::array();
  for (const Point& point : curve) json.push_back({point.bytes, point.seconds});
  return json;
}

void add_way(Json& json, const Way& way) {
  json["algorithm"] = way.exchange ? "exchange" : cpdcomm::to_string(way.algorithm);
  if (way.algorithm == Algorithm::hierarchical) json["across"] = cpdcomm::to_string(way.across);
  json["segment_bytes"] = way.segment_bytes;
}

Json json_of(const Rule& rule) {
  Json json = Json::object();
  if (rule.min_bytes > 0) json["min_bytes"] = rule.min_bytes;
  if (rule.max_bytes < kInfinity) json["max_bytes"] = rule.max_bytes;
  if (rule.wire) json["wire"] = rule.wire->to_string();
  if (rule.native) {
    json["algorithm"] = "native";
  } else {
    add_way(json, rule.way);
  }
  return json;
}

Json json_of(const Measured& measured) {
  Json json = Json::object();
  add_way(json, measured.way);
  json["wire"] = measured.wire.to_string();
  json["times"] = json_of(measured.times);
  return json;
}

Json json_of(const Profile& profile) {
  const schedule::Network& network = profile.network;
  Json json{{"transport", profile.transport},
            {"hosts", profile.hosts},
            {"ranks", profile.ranks},
            {"network",
             {{"latency_inside", network.latency_inside},
              {"latency_across", network.latency_across},
              {"inside_bytes_per_second", network.inside_bytes_per_second},
              {"across_bytes_per_second", network.across_bytes_per_second},
              {"cpu_seconds_per_message", network.cpu_seconds_per_message},
              {"cpu_bytes_per_second", network.cpu_bytes_per_second}}},
            {"call_seconds", profile.call_seconds},
            {"native", json_of(profile.native)},
            {"own", Json::array()},
            {"rules", Json::array()}};
  for (const Measured& measured : profile.own) json["own"].push_back(json_of(measured));
  for (const Rule& rule : profile.rules) json["rules"].push_back(json_of(rule));
  return json;
}

Json json_of(const Codec& codec) {
  return {{"wire", codec.wire.to_string()},
          {"encode", codec.rates.encode},
          {"decode", codec.rates.decode},
          {"join", codec.rates.join},
          {"scan", codec.rates.scan}};
}

}  // namespace

Table parse_table(const std::string& text, const std::string& name) {
  Json json;
  try {
    json = Json::parse(text);
  } catch (const Json::exception& error) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("tuning table {}: it is not JSON: {}", name, error.what()));
  }
  return table_of(Node(json, name, ""));
}

std::string to_json(const Table& table) {
  Json json{{"schema", kSchema},
            {"about", table.about},
            {"margin", table.margin},
            {"codecs", Json::array()},
            {"profiles", Json::array()}};
  for (const Codec& codec : table.codecs) json["codecs"].push_back(json_of(codec));
  for (const Profile& profile : table.profiles) json["profiles"].push_back(json_of(profile));
  return json.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string read_table(const std::string& name) {
  if (name.starts_with('{')) return name;
  std::ifstream file(name, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (file.is_open() && !file.bad() && !text.empty()) return text;
  throw Error(ErrorCode::invalid_argument,
              fmt::format("tuning table {}: {}", name,
                          file.is_open() ? "it is empty or cannot be read; allowed is a file "
                                           "that cpd-tune wrote"
                                         : std::strerror(errno)));
}

const Table& builtin_table() {
  static const Table table = parse_table(kBuiltinTable, "builtin.json");
  return table;
}

}  // namespace cpdcomm::collective::tuning
