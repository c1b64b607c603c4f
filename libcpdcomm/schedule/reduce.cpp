#include "schedule/schedule.hpp"

namespace cpdcomm::schedule {

Schedule reduce(int rank, int ranks, int root) {
  Schedule schedule = direct_reduce_scatter(rank, ranks);
  schedule.name = "reduce";
  Step& own = schedule.steps.back();
  own.action = Action::finish;
  if (rank != root) {
    own.send.push_back({root, Payload::result, ranks});
    return schedule;
  }
  for (int distance = 1; distance < ranks; ++distance) {
    const int owner = (rank + ranks - distance) % ranks;
    schedule.steps.push_back({Action::take, owner, {{owner, Payload::result, ranks}}, 0, {}});
  }
  return schedule;
}

}  // namespace cpdcomm::schedule
