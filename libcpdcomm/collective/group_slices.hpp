#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "collective/slices.hpp"

namespace cpdcomm::collective {

/// Where a tensor's values are groups that share a word: of which tensor of words.
struct Grouped {
  std::size_t words;  ///< tensor among those of words
  std::size_t group;  ///< values that share a word
};

/// The words that belong to the values of another cut, segment by segment, so that a segment's
/// words can travel right before its values.
class GroupSlices final : public Slices {
 public:
  /// @param values   cut at multiples of the groups; must outlive this
  /// @param grouped  per tensor of the values; none: it has no words
  /// @param chunks   of the values, and of the words: as many, or one for all
  GroupSlices(const Slices& values, std::vector<std::optional<Grouped>> grouped, std::size_t chunks,
              bool one_chunk)
      : values_(values), grouped_(std::move(grouped)), chunks_(chunks), one_chunk_(one_chunk) {}

  std::size_t segments() const override { return values_.segments(); }
  void slice(std::size_t chunk, std::size_t segment,
             std::vector<reduction::Range>& ranges) const override;

 private:
  const Slices& values_;
  std::vector<std::optional<Grouped>> grouped_;
  std::size_t chunks_;
  bool one_chunk_;
};

}  // namespace cpdcomm::collective
