#include "collective/layout.hpp"

#include <algorithm>

namespace cpdcomm::collective {
namespace {

/// The most bytes that a message may take for `count` values.
std::size_t most_bytes(const reduction::Reduction& reduction, std::size_t tensor, std::size_t count,
                       int parts) {
  return std::max({reduction.bytes(tensor, count, Payload::part, 1),
                   reduction.bytes(tensor, count, Payload::partial, parts),
                   reduction.bytes(tensor, count, Payload::result, parts)});
}

}  // namespace

Layout::Layout(const reduction::Reduction& reduction, int parts, std::size_t segment_bytes)
    : segment_bytes_(segment_bytes) {
  lines_.reserve(reduction.tensors());
  for (std::size_t tensor = 0; tensor < reduction.tensors(); ++tensor) {
    const std::size_t alignment = reduction.alignment(tensor);
    const std::size_t count = reduction.count(tensor);
    lines_.push_back({bytes_, count, alignment, most_bytes(reduction, tensor, alignment, parts)});
    bytes_ += most_bytes(reduction, tensor, count, parts);
  }
}

Layout Layout::balanced(const reduction::Reduction& reduction, int parts, int chunks,
                        std::size_t segment_bytes) {
  Layout layout(reduction, parts, segment_bytes);
  const auto count = static_cast<std::size_t>(chunks);
  for (std::size_t chunk = 0; chunk <= count; ++chunk) {
    // In this order the product cannot overflow.
    layout.chunk_begin_.push_back(layout.bytes_ / count * chunk +
                                  layout.bytes_ % count * chunk / count);
  }
  layout.count_segments();
  return layout;
}

Layout Layout::by_tensor(const reduction::Reduction& reduction, std::size_t segment_bytes) {
  Layout layout(reduction, 1, segment_bytes);
  for (const Line& line : layout.lines_) layout.chunk_begin_.push_back(line.begin);
  layout.chunk_begin_.push_back(layout.bytes_);
  layout.count_segments();
  return layout;
}

void Layout::count_segments() {
  for (std::size_t chunk = 0; chunk + 1 < chunk_begin_.size(); ++chunk) {
    const std::size_t size = chunk_begin_[chunk + 1] - chunk_begin_[chunk];
    segments_ = std::max(segments_, (size + segment_bytes_ - 1) / segment_bytes_);
  }
}

Layout::Cut Layout::cut(std::size_t byte) const {
  if (byte >= bytes_) return {lines_.size(), 0};
  // The last tensor that starts at or before the byte; an empty one shares its start with the next.
  const auto after =
      std::upper_bound(lines_.begin(), lines_.end(), byte,
                       [](std::size_t at, const Line& line) { return at < line.begin; });
  const auto tensor = static_cast<std::size_t>(after - lines_.begin()) - 1;
  const Line& line = lines_[tensor];
  const std::size_t index = (byte - line.begin) / line.aligned_bytes * line.alignment;
  return {tensor, std::min(index, line.count)};
}

void Layout::slice(std::size_t chunk, std::size_t segment,
                   std::vector<reduction::Range>& ranges) const {
  ranges.clear();
  const std::size_t end_byte = chunk_begin_[chunk + 1];
  const std::size_t first_byte = std::min(end_byte, chunk_begin_[chunk] + segment * segment_bytes_);
  const std::size_t last_byte = std::min(end_byte, first_byte + segment_bytes_);
  const Cut end = cut(last_byte);
  for (Cut at = cut(first_byte); at.tensor < lines_.size() && at.tensor <= end.tensor;
       at = {at.tensor + 1, 0}) {
    const std::size_t stop = at.tensor == end.tensor ? end.index : lines_[at.tensor].count;
    if (stop > at.index) ranges.push_back({at.tensor, at.index, stop - at.index});
  }
}

}  // namespace cpdcomm::collective
