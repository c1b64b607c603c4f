#include "collective/plan.hpp"

#include <algorithm>

namespace cpdcomm::collective {
namespace {

// Direct casts each value twice where a ring casts it once a hop, sends the same bytes and has two
// hops instead of 2 (N - 1); beyond so many ranks its N - 1 messages at once are too many.
constexpr int kMostDirectRanks = 32;

Algorithm flat_for(Algorithm asked, int ranks) {
  if (asked != Algorithm::automatic) return asked;
  return ranks <= kMostDirectRanks ? Algorithm::direct : Algorithm::ring;
}

}  // namespace

Plan plan_for(const Question& question) {
  const int ranks = static_cast<int>(question.hosts.size());
  const int hosts = 1 + *std::max_element(question.hosts.begin(), question.hosts.end());
  Plan plan{flat_for(question.options.algorithm, ranks), flat_for(question.options.across, hosts),
            question.segment_bytes != 0 ? question.segment_bytes : kLargestSegment};
  return plan;
}

}  // namespace cpdcomm::collective
