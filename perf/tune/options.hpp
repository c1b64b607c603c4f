#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "cpdcomm/format.hpp"

namespace cpdcomm::perf::tune {

/// What the user asked for.
struct Options {
  std::string file = "tuning.json";
  bool force = false;
  bool quick = false;
  std::string add_to;
  std::size_t max_bytes = 0;  ///< 0: 64 MiB, or 4 MiB where quick
  std::vector<std::string> wires{"fp32", "e4m3", "e3m0"};
  std::vector<std::size_t> segments;  ///< empty: chosen
  int rounds = 15;
  double time_limit = 0;  ///< 0: 180 s, or 30 s where quick

  /// 1 KiB and on, each four times the one before.
  std::vector<std::size_t> sizes() const;
};

struct Parsed {
  Options options;
  int exit_code = -1;  ///< negative: go on
  std::string message;
};

Parsed parse(int argc, const char* const* argv);

}  // namespace cpdcomm::perf::tune
