#pragma once

#include <vector>

#include "codecs/record.hpp"
#include "codecs/result.hpp"

namespace cpdcomm::perf {

/// Lines for people on stdout; those that begin with # are not data.
void print_header(const Record& record);
void print_table(const std::vector<Result>& results);

/// Comma-separated values with one line of names, and nothing else.
void print_csv(const std::vector<Result>& results);

}  // namespace cpdcomm::perf
