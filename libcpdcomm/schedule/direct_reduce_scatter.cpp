#include "schedule/schedule.hpp"

namespace cpdcomm::schedule {

Schedule direct_reduce_scatter(int rank, int ranks) {
  Schedule schedule{"direct_reduce_scatter", rank, ranks, ranks, true, {}};
  // Each rank starts with its neighbour, so that no owner is everybody's first target.
  for (int distance = 1; distance < ranks; ++distance) {
    const int owner = (rank + distance) % ranks;
    schedule.steps.push_back({Action::send_part, owner, {}, 0, {{owner, Payload::part, 1}}});
  }
  Step own{Action::keep, rank, {}, rank, {}};
  for (int peer = 0; peer < ranks; ++peer) {
    if (peer != rank) own.receive.push_back({peer, Payload::part, 1});
  }
  schedule.steps.push_back(own);
  return schedule;
}

}  // namespace cpdcomm::schedule
