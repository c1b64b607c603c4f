#pragma once

#include <cstddef>
#include <cstdint>

#include "collective/message.hpp"
#include "cpdcomm/options.hpp"

namespace cpdcomm::collective {

// A cut moves back to a multiple of 8 values; those may stand in the segment before.
inline constexpr std::size_t kLargestSegment = kLargestBody - 8 * 2 * sizeof(float);

/// Beyond so many ranks the N - 1 messages at once of `direct` and `exchange` are not begun
/// unasked: the receives of each peer take memory (see Algorithm::direct).
inline constexpr int kMostDirectRanks = 32;

/// How a call is done. It follows from the call and from what all ranks know alike, so every rank
/// has the same plan without a word.
struct Plan {
  Algorithm algorithm = Algorithm::direct;      ///< never automatic
  Algorithm across = Algorithm::direct;         ///< of hierarchical
  std::size_t segment_bytes = kLargestSegment;  ///< encoded at once and sent as one message
  bool exchange = false;    ///< schedule `exchange` in place of `direct`: the same bits
  bool compressed = true;   ///< false: the wire formats that were asked for are left for FP32
  const char* reason = "";  ///< in words

  /// Whether the network's own all-reduce does it all.
  bool native() const { return algorithm == Algorithm::native; }
};

/// What makes the messages of two plans differ.
std::uint32_t hash_of(const Plan& plan);

/// How bytes travel that nobody sums: it depends on no table, because ranks that have made no
/// all-reduce have not agreed on one.
Plan plan_of_bytes(int ranks, std::size_t segment_bytes);

}  // namespace cpdcomm::collective
