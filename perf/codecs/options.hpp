#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace cpdcomm::perf {

/// What is measured and where the results go, as the command line says.
struct Options {
  std::vector<std::string> formats{"e4m3", "e5m2",      "e3m0",  "e2m1fn", "bf16", "fp16",
                                   "e1m0", "e2m0",      "e2m2",  "e3m2",   "e3m3", "e4m4",
                                   "e5m4", "e5m5",      "e5m6",  "e5m7",   "e5m8", "e5m9",
                                   "bfp8", "mxfp8e4m3", "mxfp4", "int4",   "int8", "sign"};
  std::vector<std::string> kernels;  ///< all unless some are named
  std::vector<std::size_t> values{16 << 10, 64 << 10, 16 << 20};
  std::vector<int> threads;  ///< one and all cores unless others are named
  std::string target;        ///< the best of this machine unless another is named
  int repetitions = 7;
  double min_time = 0.05;  ///< seconds of one repetition
  std::string format = "table";
  std::string output_file;             ///< none where empty
  std::vector<std::string> benchmark;  ///< what goes on to Google Benchmark
};

/// Reads the command line on a machine with so many cores. Gives the exit code where the program
/// is to end at once: after --help, or after a message about what is wrong.
std::optional<int> parse(int argc, char** argv, int cores, Options& options);

}  // namespace cpdcomm::perf
