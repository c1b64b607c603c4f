#pragma once

#include <string>

namespace cpdcomm::collective::tuning {

/// What all ranks take from rank 0.
struct Terms {
  std::string table = {};  ///< its text; empty: the built-in one
  std::string source = "built in";
  bool check = false;  ///< the network's own all-reduce is never taken
};

/// What this process was asked for: by its caller, else by the environment.
/// @param tuning  CommunicatorOptions::tuning
/// @throws Error invalid_argument for a table that cannot be read
Terms read_terms(const std::string& tuning, bool check);

}  // namespace cpdcomm::collective::tuning
