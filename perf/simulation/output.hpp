#pragma once

#include <string>
#include <vector>

#include "simulation/rows.hpp"

namespace cpdcomm::perf {

/// Lines for people; those that begin with # are not data.
std::string to_table(const Options& options, const std::vector<Row>& rows);

/// Comma-separated values with one line of names, and nothing else.
std::string to_csv(const std::vector<Row>& rows);

/// JSON as perf/schema/simulate.schema.json says.
std::string to_json(const Options& options, const std::vector<std::string>& command,
                    const std::vector<Row>& rows);

}  // namespace cpdcomm::perf
