#include "schedule/schedule.hpp"

namespace cpdcomm::schedule {

Schedule scatter(int rank, int ranks, int root) {
  Schedule schedule{"scatter", rank, ranks, ranks, false, {}};
  if (rank != root) {
    schedule.steps.push_back({Action::take, rank, {{root, Payload::result, 1}}, 0, {}});
    return schedule;
  }
  for (int distance = 1; distance <= ranks; ++distance) {
    const int owner = (root + distance) % ranks;
    Step step{Action::finish, owner, {}, 0, {}};
    if (owner != root) step.send.push_back({owner, Payload::result, 1});
    schedule.steps.push_back(step);
  }
  return schedule;
}

}  // namespace cpdcomm::schedule
