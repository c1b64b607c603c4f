#include "schedule/schedule.hpp"

namespace cpdcomm::schedule {

Schedule gather(int rank, int ranks, int root) {
  Schedule schedule{"gather", rank, ranks, ranks, false, {}};
  Step own{Action::finish, rank, {}, 0, {}};
  if (rank != root) own.send.push_back({root, Payload::result, 1});
  schedule.steps.push_back(own);
  for (int distance = 1; rank == root && distance < ranks; ++distance) {
    const int owner = (root + distance) % ranks;
    schedule.steps.push_back({Action::take, owner, {{owner, Payload::result, 1}}, 0, {}});
  }
  return schedule;
}

}  // namespace cpdcomm::schedule
