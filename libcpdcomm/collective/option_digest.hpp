#pragma once

#include <bit>
#include <cstdint>
#include <string>

namespace cpdcomm::collective {

/// What a call asks for, option by option in a few bits each, so that ranks that differ can be told
/// in what. Options of few values are there as they are, the others as a hash.
struct OptionDigest {
  std::uint32_t op : 3 = 0;
  std::uint32_t accumulate : 3 = 0;
  std::uint32_t algorithm : 3 = 0;
  std::uint32_t across : 3 = 0;
  std::uint32_t result : 1 = 0;
  std::uint32_t rounding : 1 = 0;
  std::uint32_t wire : 6 = 0;     // hash
  std::uint32_t scaling : 4 = 0;  // hash
  std::uint32_t inner : 4 = 0;    // hash
  std::uint32_t seed : 4 = 0;     // hash

  /// As a message's header has it.
  std::uint32_t bits() const { return std::bit_cast<std::uint32_t>(*this); }
  static OptionDigest of(std::uint32_t bits) { return std::bit_cast<OptionDigest>(bits); }
};
static_assert(sizeof(OptionDigest) == sizeof(std::uint32_t));

/// The options in which a peer differs, in words ("algorithm 'ring' (this rank: 'direct')"); empty
/// where the digests are the same.
std::string difference(OptionDigest mine, OptionDigest theirs);

}  // namespace cpdcomm::collective
