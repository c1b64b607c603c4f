#pragma once

#include <cstdint>

namespace cpdcomm {

/// What a message carries of a chunk: schedules say which, reductions know how it is written.
enum class Payload : std::uint8_t {
  part,     ///< one rank's own part
  partial,  ///< a partial sum
  result,   ///< the finished chunk, the same bytes for every rank
};

/// Where a message goes, for schedules and cost models that tell hosts apart, and for formats that
/// hold inside a host only.
enum class Leg : std::uint8_t { inside_host, across_hosts };

/// All that fixes the size of a message, besides its values.
struct Content {
  Payload payload;
  int parts;  ///< ranks whose parts are in it
  Leg leg = Leg::across_hosts;

  friend bool operator==(const Content&, const Content&) = default;
};

}  // namespace cpdcomm
