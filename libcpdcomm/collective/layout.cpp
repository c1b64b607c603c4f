#include "collective/layout.hpp"

#include <algorithm>
#include <numeric>

#include "collective/message.hpp"

namespace cpdcomm::collective {
namespace {

/// The most bytes that a message may take for `count` values.
std::size_t most_bytes(const reduction::Reduction& reduction, std::size_t tensor, std::size_t count,
                       int parts) {
  return std::max({reduction.bytes(tensor, count, {Payload::part, 1}),
                   reduction.bytes(tensor, count, {Payload::part, 1, Leg::inside_host}),
                   reduction.bytes(tensor, count, {Payload::part, parts}),
                   reduction.bytes(tensor, count, {Payload::partial, parts}),
                   reduction.bytes(tensor, count, {Payload::result, parts})});
}

}  // namespace

Layout::Layout(const reduction::Reduction& reduction, int parts, std::size_t segment_bytes,
               std::span<const std::size_t> multiples)
    : segment_bytes_(segment_bytes) {
  lines_.reserve(reduction.tensors());
  std::size_t most_besides = 0;
  for (std::size_t tensor = 0; tensor < reduction.tensors(); ++tensor) {
    const std::size_t multiple = multiples.empty() ? 1 : multiples[tensor];
    const std::size_t alignment = std::lcm(reduction.alignment(tensor), multiple);
    const std::size_t count = reduction.count(tensor);
    const std::size_t once = most_bytes(reduction, tensor, alignment, parts);
    const std::size_t more = most_bytes(reduction, tensor, 2 * alignment, parts) - once;
    lines_.push_back({bytes_, count, alignment, more});
    uncut_ = std::max(uncut_, more);
    bytes_ += most_bytes(reduction, tensor, count, parts);
    most_besides = std::max(most_besides, once - more);
  }
  // What a range takes besides its values is counted at its tensor's end; a cut has it once more.
  segment_bytes_ -= std::min(segment_bytes_, most_besides);
}

Layout Layout::balanced(const reduction::Reduction& reduction, int parts, int chunks,
                        std::size_t segment_bytes, std::span<const std::size_t> multiples) {
  Layout layout(reduction, parts, segment_bytes, multiples);
  const auto count = static_cast<std::size_t>(chunks);
  layout.even_out(count);
  layout.make_room(count);
  const auto begin = [&](std::size_t chunk) {
    // In this order the product cannot overflow.
    return layout.bytes_ / count * chunk + layout.bytes_ % count * chunk / count;
  };
  for (std::size_t chunk = 0; chunk < count; ++chunk) {
    layout.add_chunk(begin(chunk), begin(chunk + 1));
  }
  return layout;
}

Layout Layout::by_tensor(const reduction::Reduction& reduction, int parts,
                         std::size_t segment_bytes, std::size_t tensors_per_chunk) {
  Layout layout(reduction, parts, segment_bytes, {});
  for (std::size_t tensor = 0; tensor < layout.lines_.size(); tensor += tensors_per_chunk) {
    const std::size_t next = tensor + tensors_per_chunk;
    const bool last = next >= layout.lines_.size();
    layout.add_chunk(layout.lines_[tensor].begin, last ? layout.bytes_ : layout.lines_[next].begin);
  }
  return layout;
}

/// Segments alike in length, of a number that lanes take in whole rounds: in a round that is not
/// full the link waits.
void Layout::even_out(std::size_t chunks) {
  if (segment_bytes_ == 0) return;
  const std::size_t chunk = (bytes_ + chunks - 1) / chunks;
  std::size_t segments = (chunk + segment_bytes_ - 1) / segment_bytes_;
  if (segments > kSegmentsUnderWay) {
    segments = (segments + kSegmentsUnderWay - 1) / kSegmentsUnderWay * kSegmentsUnderWay;
  }
  if (segments > 1) segment_bytes_ = std::min(segment_bytes_, chunk / segments + uncut_);
}

/// For the cuts of so many chunks: a slice may be shorter than it could be by what may not be cut.
void Layout::make_room(std::size_t chunks) {
  const std::size_t slice = std::max(segment_bytes_, 2 * uncut_ + 1) - uncut_;
  cuts_.reserve(chunks * (3 + bytes_ / chunks / slice));
}

void Layout::add_chunk(std::size_t first_byte, std::size_t end_byte) {
  first_cut_.push_back(cuts_.size());
  const Cut end = cut(end_byte);
  cuts_.push_back(cut(first_byte));
  while (cuts_.back() < end) cuts_.push_back(std::min(end, next(cuts_.back())));
  segments_ = std::max(segments_, cuts_.size() - first_cut_.back() - 1);
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

/// The end of the slice that begins at a cut.
Layout::Cut Layout::next(Cut at) const {
  const Line& line = lines_[at.tensor];
  const std::size_t byte = line.begin + at.index / line.alignment * line.aligned_bytes;
  const Cut far = cut(byte + segment_bytes_);
  if (at < far) return far;
  const std::size_t index = at.index + line.alignment;
  return index < line.count ? Cut{at.tensor, index} : Cut{at.tensor + 1, 0};
}

bool cuts_fit_a_message(const reduction::Reduction& reduction, int parts) {
  for (std::size_t tensor = 0; tensor < reduction.tensors(); ++tensor) {
    const std::size_t values = std::min(reduction.count(tensor), reduction.alignment(tensor));
    if (most_bytes(reduction, tensor, values, parts) > kLargestBody) return false;
  }
  return true;
}

bool groups_fit_a_message(const reduction::Reduction& reduction, int parts,
                          std::span<const std::size_t> groups) {
  constexpr std::size_t kMostValues = 8 * kLargestBody;  // of one bit
  for (std::size_t tensor = 0; tensor < groups.size(); ++tensor) {
    if (groups[tensor] > kMostValues) return false;
    const std::size_t values = std::lcm(reduction.alignment(tensor), groups[tensor]);
    if (most_bytes(reduction, tensor, values, parts) > kLargestBody) return false;
  }
  return true;
}

void Layout::slice(std::size_t chunk, std::size_t segment,
                   std::vector<reduction::Range>& ranges) const {
  ranges.clear();
  const std::size_t begin = first_cut_[chunk] + segment;
  const std::size_t last = chunk + 1 < first_cut_.size() ? first_cut_[chunk + 1] : cuts_.size();
  if (begin + 1 >= last) return;
  const Cut end = cuts_[begin + 1];
  for (Cut at = cuts_[begin]; at.tensor < lines_.size() && at.tensor <= end.tensor;
       at = {at.tensor + 1, 0}) {
    const std::size_t stop = at.tensor == end.tensor ? end.index : lines_[at.tensor].count;
    if (stop > at.index) ranges.push_back({at.tensor, at.index, stop - at.index});
  }
}

}  // namespace cpdcomm::collective
