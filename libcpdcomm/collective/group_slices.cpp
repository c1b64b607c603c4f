#include "collective/group_slices.hpp"

namespace cpdcomm::collective {

void GroupSlices::slice(std::size_t chunk, std::size_t segment,
                        std::vector<reduction::Range>& ranges) const {
  thread_local std::vector<reduction::Range> values;
  ranges.clear();
  const std::size_t first = one_chunk_ ? 0 : chunk;
  const std::size_t end = one_chunk_ ? chunks_ : chunk + 1;
  for (std::size_t i = first; i < end; ++i) {
    values_.slice(i, segment, values);
    for (const reduction::Range& range : values) {
      const std::optional<Grouped>& grouped = grouped_[range.tensor];
      if (!grouped) continue;
      const std::size_t count = (range.count + grouped->group - 1) / grouped->group;
      ranges.push_back({grouped->words, range.first / grouped->group, count});
    }
  }
}

}  // namespace cpdcomm::collective
