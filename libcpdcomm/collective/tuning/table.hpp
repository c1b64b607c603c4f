#pragma once

#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "collective/plan.hpp"
#include "cpdcomm/format.hpp"
#include "schedule/cost.hpp"

namespace cpdcomm::collective::tuning {

/// A time that was measured.
struct Point {
  double bytes;  ///< of the vector in FP32
  double seconds;

  friend bool operator==(const Point&, const Point&) = default;
};

/// Times by size, ascending in bytes. Between two points the time is on the line through them;
/// below the first it is that of the first, and above the last it grows with the bytes. Only the
/// four basic operations are used: with a logarithm, machines could differ in the last bit, and
/// ranks in what they choose.
using Curve = std::vector<Point>;
double at(const Curve& curve, double bytes);

/// One of the library's own all-reduces.
struct Way {
  Algorithm algorithm = Algorithm::direct;  ///< a definite one
  Algorithm across = Algorithm::direct;     ///< of hierarchical
  bool exchange = false;                    ///< of direct: schedule `exchange`
  std::size_t segment_bytes = kLargestSegment;

  friend bool operator==(const Way&, const Way&) = default;
};

/// "direct", "exchange", "hierarchical/ring", ...
std::string to_string(const Way& way);

/// One of the library's own all-reduces, as it was found.
struct Measured {
  Way way;
  Format wire;
  Curve times;

  friend bool operator==(const Measured&, const Measured&) = default;
};

/// What `automatic` takes, whatever the times say. The first rule that fits a call holds for it.
struct Rule {
  double min_bytes = 0;
  double max_bytes = std::numeric_limits<double>::infinity();
  std::optional<Format> wire = {};  ///< of the call; none: any
  bool native = false;              ///< MPI's own; does not fit calls that may not take it
  Way way = {};                     ///< where not native

  friend bool operator==(const Rule&, const Rule&) = default;
};

/// What is known of a number of ranks on a network.
struct Profile {
  std::string transport;  ///< "threads", "mpi", ...; "any": all but threads
  int hosts = 1;
  int ranks = 2;
  schedule::Network network = {};
  double call_seconds = 0;  ///< that the library takes for a call beside what the network does
  Curve native = {};        ///< MPI_Allreduce of FP32; empty: not measured
  std::vector<Measured> own = {};
  std::vector<Rule> rules = {};
};

/// How fast a codec is here.
struct Codec {
  Format wire;
  schedule::CodecRates rates;
};

/// All that `automatic` goes by.
///
/// As a file it is JSON that `cpd-tune` writes; perf/README.md describes each field.
struct Table {
  std::string about;     ///< where it comes from, in words
  double margin = 0.05;  ///< that something must be faster by to be taken in place of MPI's own
  std::vector<Codec> codecs;  ///< of others the rates are schedule::builtin_codec_rates
  std::vector<Profile> profiles;
};

/// Reads what `to_json` writes.
/// @param name  of the file, for errors
/// @throws Error invalid_argument that names the file, the field, its value and what is allowed
Table parse_table(const std::string& text, const std::string& name);
std::string to_json(const Table& table);

/// The text of a table that a user names: a file, or the text itself where it begins with '{'.
/// @throws Error invalid_argument where the file cannot be read
std::string read_table(const std::string& name);

/// The one that is compiled in, from builtin.json.
const Table& builtin_table();

}  // namespace cpdcomm::collective::tuning
