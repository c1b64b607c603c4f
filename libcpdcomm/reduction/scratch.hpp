#pragma once

#include <cstdint>
#include <vector>

#include "reduction/summation.hpp"

namespace cpdcomm::reduction {

/// What one thread needs while it works on a tile; kept, so that steady state allocates nothing.
struct Scratch {
  PartialSum total;
  PartialSum own;
  PartialSum received;
  std::vector<float> values;
  std::vector<float> scaled;
  std::vector<float> source;
  std::vector<const std::byte*> cursors;       // where the inputs of a join are read
  std::vector<const std::byte*> host_cursors;  // and those from inside the host
  std::int16_t largest = 0;                    // `delayed` scaling: of the range that is worked on

  /// This thread's, with room for a tile of so many values.
  static Scratch& of_this_thread(std::size_t tile);
};

}  // namespace cpdcomm::reduction
