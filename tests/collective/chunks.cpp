#include "collective/chunks.hpp"

#include "collective/layout.hpp"
#include "collective/schedules.hpp"
#include "reduction/float_reduction.hpp"

namespace cpdcomm::testing {
namespace {

schedule::Schedule schedule_of(const SumRules& rules, int rank, int ranks) {
  collective::Schedules schedules(rank, schedule::Hosts(static_cast<std::size_t>(ranks)));
  return schedules.allreduce(rules.algorithm, Algorithm::automatic);
}

}  // namespace

std::vector<schedule::Schedule> schedules_of(const SumRules& rules, int ranks) {
  std::vector<schedule::Schedule> schedules;
  if (rules.algorithm == Algorithm::direct || rules.algorithm == Algorithm::ring) return schedules;
  for (int rank = 0; rank < ranks; ++rank) schedules.push_back(schedule_of(rules, rank, ranks));
  return schedules;
}

int chunks_in(const SumRules& rules, int ranks) { return schedule_of(rules, 0, ranks).chunks; }

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
  const int count = chunks_in(rules, ranks);
  std::vector<std::size_t> multiples;
  if (rules.group != 0 && rules.aps && !rules.wire.is_fp32()) {
    multiples.assign(counts.size(), rules.group);
    if (!collective::groups_fit_a_message(*reduction, ranks, multiples)) multiples.clear();
  }
  const auto layout = collective::Layout::balanced(*reduction, ranks, count, 1 << 14, multiples);
  std::vector<reduction::Range> ranges;
  for (int chunk = 0; chunk < count; ++chunk) {
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
