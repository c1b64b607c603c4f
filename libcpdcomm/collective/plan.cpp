#include "collective/plan.hpp"

namespace cpdcomm::collective {

std::uint32_t hash_of(const Plan& plan) {
  Hash hash;
  hash.add(plan.segment_bytes);
  hash.add(static_cast<std::uint64_t>(plan.across));
  hash.add((plan.exchange ? 2u : 0u) + (plan.compressed ? 1u : 0u));
  return hash.value();
}

Plan plan_of_bytes(int ranks, std::size_t segment_bytes) {
  Plan plan;
  if (ranks > kMostDirectRanks) plan.algorithm = Algorithm::ring;
  if (segment_bytes != 0) plan.segment_bytes = segment_bytes;
  return plan;
}

}  // namespace cpdcomm::collective
