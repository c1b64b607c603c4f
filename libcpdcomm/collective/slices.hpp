#pragma once

#include <cstddef>
#include <vector>

#include "reduction/reduction.hpp"

namespace cpdcomm::collective {

/// Segments that the engine works on at once.
inline constexpr std::size_t kSegmentsUnderWay = 4;

/// How the tensors of a call are cut into chunks, and those into slices: a segment is a slice of
/// every chunk.
class Slices {
 public:
  virtual ~Slices() = default;

  /// At least one.
  virtual std::size_t segments() const = 0;
  /// The ranges of a slice, in the order of the tensors; short chunks have empty slices.
  virtual void slice(std::size_t chunk, std::size_t segment,
                     std::vector<reduction::Range>& ranges) const = 0;
};

}  // namespace cpdcomm::collective
