#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "cpdcomm/options.hpp"
#include "schedule/cost.hpp"

namespace cpdcomm::perf {

/// What is asked for on the command line. Times in seconds, rates in bytes per second.
struct Options {
  std::vector<std::string> networks{"10gbit"};  ///< rates of a host's link, or "host"
  std::vector<int> ranks{4, 64, 1024, 65536};
  int ranks_per_host = 1;
  std::vector<std::size_t> sizes{64 << 10, 1 << 20, 16 << 20, 256 << 20};
  std::vector<std::string> wires{"fp32", "e5m2", "e4m3", "e3m0"};
  std::vector<std::string> algorithms;  ///< all that differ unless some are named
  std::string inner = "fp32";           ///< format inside a host under hierarchical, or "wire"
  Scaling scaling = {};
  double latency = 20e-6;  ///< between hosts
  double inside_latency = 1e-6;
  double inside_rate = 5e9;
  double cpu_rate = 2.5e9;
  std::optional<double> overhead;                           ///< by default 5 us, on one host 0.5 us
  std::map<std::string, schedule::CodecRates> codec_rates;  ///< where not the built-in ones
  std::size_t segment = 60 << 10;                           ///< the library's largest
  bool all = false;  ///< all algorithms in the table, not the fastest for each format alone
  std::string format = "table";
  std::string output_file;  ///< none where empty
};

/// Reads the command line. Gives the exit code where the program is to end at once: after --help,
/// or after a message about what is wrong.
std::optional<int> parse(int argc, const char* const* argv, Options& options);

}  // namespace cpdcomm::perf
