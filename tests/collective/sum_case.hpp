#pragma once

#include <vector>

#include "support/patterns.hpp"
#include "support/ranks.hpp"
#include "support/reference_sum.hpp"

namespace cpdcomm::testing {

/// Gradients of every rank (and node), some binades apart from each other.
inline std::vector<Parts> parts_of_ranks(int ranks, int nodes, std::size_t count, unsigned seed) {
  std::vector<Parts> by_rank;
  for (int rank = 0; rank < ranks; ++rank) {
    by_rank.emplace_back();
    for (int node = 0; node < nodes; ++node) {
      by_rank.back().push_back(gradients(
          count, seed + 1000u * static_cast<unsigned>(rank) + 100u * static_cast<unsigned>(node)));
    }
  }
  return by_rank;
}

/// Sums one tensor over the ranks; returns what each rank got.
inline PerRank<std::vector<float>> allreduce_parts(Ranks& ranks, const std::vector<Parts>& by_rank,
                                                   AllreduceOptions options) {
  PerRank<std::vector<float>> results(by_rank.size());
  options.emulate_nodes = static_cast<int>(by_rank[0].size());
  ranks.run([&](Communicator& self) {
    const Parts& parts = by_rank[index_of(self)];
    std::vector<float>& values = results[index_of(self)];
    values = parts[0];
    std::vector<const void*> nodes;
    if (parts.size() > 1) {
      for (const auto& part : parts) nodes.push_back(part.data());
      values.assign(values.size(), -77.0f);  // never read
    }
    const Tensor tensor{.data = values.data(), .count = values.size(), .nodes = nodes};
    self.allreduce({&tensor, 1}, options);
  });
  return results;
}

}  // namespace cpdcomm::testing
