#pragma once

#include <string>

#include "cpdcomm/options.hpp"

namespace cpdcomm {

/// All that CPDCOMM_ variables say.
struct Environment {
  AllreduceOptions options;
  std::string tuning;  ///< CommunicatorOptions::tuning
  bool check = false;  ///< CommunicatorOptions::check
  bool debug = false;
};

/// Read once.
/// @throws Error as environment_options()
const Environment& environment();

}  // namespace cpdcomm
