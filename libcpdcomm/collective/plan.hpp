#pragma once

#include <cstddef>

#include "collective/message.hpp"
#include "cpdcomm/options.hpp"
#include "schedule/schedule.hpp"

namespace cpdcomm::collective {

/// How a call is done. It follows from the call and from what all ranks know alike, so every rank
/// has the same plan without a word.
///
/// Whoever lets sums go by schedule::exchange, too, must leave out those with residuals: a part is
/// encoded to be sent and once more to be joined, and would feed its residual twice.
struct Plan {
  Algorithm algorithm;        ///< never automatic
  Algorithm across;           ///< of hierarchical
  std::size_t segment_bytes;  ///< encoded at once and sent as one message
};

// A cut moves back to a multiple of 8 values; those may stand in the segment before.
inline constexpr std::size_t kLargestSegment = kLargestBody - 8 * 2 * sizeof(float);

/// What a plan depends on.
struct Question {
  const AllreduceOptions& options;
  const schedule::Hosts& hosts;  ///< of each rank
  std::size_t segment_bytes;     ///< asked for; 0: free
};

Plan plan_for(const Question& question);

}  // namespace cpdcomm::collective
