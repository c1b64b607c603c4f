#include "collective/plan.hpp"

namespace cpdcomm::collective {

std::uint32_t hash_of(const Plan& plan) {
  Hash hash;
  hash.add(plan.segment_bytes);
  hash.add(static_cast<std::uint64_t>(plan.across));
  hash.add((plan.one_hop ? 2u : 0u) + (plan.compressed ? 1u : 0u));
  return hash.value();
}

Plan plan_of_bytes(int ranks, std::size_t segment_bytes) {
  // Beyond so many ranks the N - 1 messages at once of `direct` are too many.
  constexpr int kMostDirectRanks = 32;
  Plan plan;
  if (ranks > kMostDirectRanks) plan.algorithm = Algorithm::ring;
  if (segment_bytes != 0) plan.segment_bytes = segment_bytes;
  return plan;
}

}  // namespace cpdcomm::collective
