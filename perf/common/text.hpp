#pragma once

#include <cstddef>
#include <string>

namespace cpdcomm::perf {

/// Bytes as people say them: 512 B, 64 KiB, 1.5 MiB.
std::string in_bytes(std::size_t bytes);

/// Seconds as people say them: 40 s, 3 min, 2 h 5 min.
std::string in_time(double seconds);

/// A number in so many columns, with as many digits behind the point as fit, two at most; where
/// none fit, with an exponent.
std::string in_columns(double value, int columns);

/// Now in UTC, as in ISO 8601.
std::string date_now();

}  // namespace cpdcomm::perf
