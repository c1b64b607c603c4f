#pragma once

#include <string>
#include <vector>

#include "codecs/options.hpp"
#include "codecs/result.hpp"

namespace cpdcomm::perf {

/// How the results came about.
struct Record {
  std::string date;  ///< when the run began, ISO 8601, UTC
  std::vector<std::string> command;
  Options options;
  int cores;  ///< that this process may run on
};

Record record_now(int argc, char** argv, const Options& options, int cores);

/// JSON as perf/schema/codec.schema.json says.
std::string to_json(const Record& record, const std::vector<Result>& results);

}  // namespace cpdcomm::perf
