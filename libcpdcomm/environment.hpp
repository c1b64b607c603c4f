#pragma once

#include <string>

#include "cpdcomm/options.hpp"

namespace cpdcomm {

/// All that CPDCOMM_ variables say.
struct Environment {
  AllreduceOptions options;
  std::string tuning;             ///< CommunicatorOptions::tuning
  bool check = false;             ///< CommunicatorOptions::check
  bool shared_memory = true;      ///< CommunicatorOptions::shared_memory
  int codec_threads = 0;          ///< CommunicatorOptions::codec_threads
  std::size_t segment_bytes = 0;  ///< CommunicatorOptions::segment_bytes
  Selection selection;
  std::string transport = "auto";
  bool debug = false;  ///< what was decided is printed to stderr, one line each
};

/// Read once.
/// @throws Error as environment_options()
const Environment& environment();

}  // namespace cpdcomm
