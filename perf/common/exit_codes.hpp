#pragma once

namespace cpdcomm::perf {

// What the programs end with.
inline constexpr int kDone = 0;
inline constexpr int kWrong = 1;   ///< a result is wrong
inline constexpr int kFailed = 2;  ///< bad usage or another error

}  // namespace cpdcomm::perf
