#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cpdcomm/communicator.hpp"

namespace cpdcomm::perf {

/// What is asked for on the command line.
struct Options {
  std::size_t min_bytes = 32 << 20;
  std::size_t max_bytes = 32 << 20;
  std::size_t step_bytes = 1 << 20;
  std::size_t step_factor = 1;  ///< 1: steps of step_bytes
  int iterations = 20;
  int warmups = 1;
  int checks = 1;
  double time_limit = 0;  ///< seconds for the timed calls of one size; 0: none

  ReduceOp op = ReduceOp::sum;
  DataType type = DataType::fp32;
  std::vector<std::string> wires{"fp32", "e5m2", "e4m3", "e3m0"};  ///< or "none"
  std::vector<Algorithm> algorithms{Algorithm::automatic};
  std::vector<Algorithm> across{Algorithm::automatic};
  std::vector<std::optional<Format>> inners{Format()};  ///< empty: the wire format
  std::vector<Accumulate> accumulates{Accumulate::wide};
  std::vector<cpdcomm::Result> results{cpdcomm::Result::full};
  std::vector<Scaling> scalings{Scaling{}};
  std::vector<Rounding> roundings{Rounding::nearest_even};
  std::vector<std::string> baselines{"mpi"};  ///< mpi, ring, direct; or none
  bool in_place = false;
  std::string input = "random";
  std::uint32_t seed = 0;
  enum class Transport { mpi, ucx };
  Transport transport = Transport::mpi;
  CommunicatorOptions communicator = {};

  enum class Average { rank_0, mean, smallest, largest };
  Average average = Average::mean;
  enum class Output { table, csv, json, osu };
  Output output = Output::table;
  bool breakdown = false;  ///< of the table: time in codecs and in waiting
  std::string json_file;

  /// All of them by their long names, as they are in force.
  std::vector<std::pair<std::string, std::string>> named() const;
  /// The sizes in bytes, rounded down to whole values; ascending.
  std::vector<std::size_t> sizes() const;
};

/// A type's name in nccl-tests: "float", "half", ...
std::string type_name(DataType type);
/// What travels inside a host: the inverse of parse_inner().
std::string to_string(const std::optional<Format>& inner);
std::string to_string(Options::Transport transport);

/// What the command line says.
struct Parsed {
  Options options;
  int exit_code = -1;   ///< of the program; negative: it goes on
  std::string message;  ///< help, or what is wrong
};
Parsed parse(int argc, const char* const* argv);

}  // namespace cpdcomm::perf
