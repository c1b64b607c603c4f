#include "collective/chunks.hpp"

#include "collective/layout.hpp"
#include "reduction/float_reduction.hpp"

namespace cpdcomm::testing {

std::vector<std::vector<int>> chunks_of(const std::vector<std::size_t>& counts,
                                        const SumRules& rules, int ranks, int nodes) {
  std::vector<reduction::FloatTensor> tensors;
  std::vector<std::vector<int>> chunks;
  for (const std::size_t count : counts) {
    reduction::FloatTensor tensor{};
    tensor.sources.resize(static_cast<std::size_t>(nodes));
    tensor.count = count;
    tensor.codec = codec::codec_for(rules.wire);
    tensors.push_back(tensor);
    chunks.emplace_back(count, -1);
  }
  const auto reduction = reduction::make_float_reduction(
      rules.accumulate, tensors, rules.algorithm == Algorithm::direct, 1.0f);
  const auto layout = collective::Layout::balanced(*reduction, ranks, ranks, 1 << 14);
  std::vector<reduction::Range> ranges;
  for (int chunk = 0; chunk < ranks; ++chunk) {
    for (std::size_t segment = 0; segment < layout.segments(); ++segment) {
      layout.slice(static_cast<std::size_t>(chunk), segment, ranges);
      for (const auto& range : ranges) {
        const auto first = chunks[range.tensor].begin() + static_cast<std::ptrdiff_t>(range.first);
        std::fill_n(first, range.count, chunk);
      }
    }
  }
  return chunks;
}

}  // namespace cpdcomm::testing
