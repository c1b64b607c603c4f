#pragma once

#include <string>
#include <vector>

#include "simulation/options.hpp"

namespace cpdcomm::perf {

/// One way to sum, predicted.
struct Row {
  std::string network;
  int ranks;
  int ranks_per_host;
  std::size_t size;  ///< bytes of the vector in FP32
  std::string wire;
  std::string algorithm;
  schedule::Cost cost;
  double gain = 0;       ///< time of the fastest FP32 of the same network, ranks and size / time
  bool best = false;     ///< no other algorithm is faster with this format
  bool fastest = false;  ///< nor with any other format
};

/// Names of all algorithms: those of schedule.hpp, and hierarchical_<across hosts>.
std::vector<std::string> algorithm_names();

/// All that is asked for, network by network, ranks, sizes, formats, algorithms. FP32, which the
/// gain needs, is predicted in any case and left out again.
std::vector<Row> predict_all(const Options& options);

}  // namespace cpdcomm::perf
