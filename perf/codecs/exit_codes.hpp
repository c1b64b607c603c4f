#pragma once

namespace cpdcomm::perf {

/// As cpd-allreduce-perf's, whose 1 says that a result was wrong.
inline constexpr int kDone = 0;
inline constexpr int kFailed = 2;  ///< bad usage or another error

}  // namespace cpdcomm::perf
