#include "schedule/schedule.hpp"

namespace cpdcomm::schedule {

Schedule direct(int rank, int ranks) {
  Schedule schedule = direct_reduce_scatter(rank, ranks);
  schedule.name = "direct";
  Step& own = schedule.steps.back();
  own.action = Action::finish;
  for (int distance = 1; distance < ranks; ++distance) {
    own.send.push_back({(rank + distance) % ranks, Payload::result, ranks});
  }
  // Owners send to their neighbours first, so the results of the nearest before this rank come
  // first.
  for (int distance = 1; distance < ranks; ++distance) {
    const int owner = (rank + ranks - distance) % ranks;
    schedule.steps.push_back({Action::take, owner, {{owner, Payload::result, ranks}}, 0, {}});
  }
  return schedule;
}

}  // namespace cpdcomm::schedule
