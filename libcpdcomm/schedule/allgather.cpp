#include "schedule/schedule.hpp"

namespace cpdcomm::schedule {

Schedule allgather(int rank, int ranks) {
  Schedule schedule{"allgather", rank, ranks, ranks, false, {}};
  const int next = (rank + 1) % ranks;
  const int previous = (rank + ranks - 1) % ranks;

  for (int hop = 0; hop < ranks; ++hop) {
    Step step{hop == 0 ? Action::finish : Action::take, (rank - hop + ranks) % ranks, {}, 0, {}};
    if (hop > 0) step.receive.push_back({previous, Payload::result, 1});
    if (hop < ranks - 1) step.send.push_back({next, Payload::result, 1});
    schedule.steps.push_back(step);
  }
  return schedule;
}

}  // namespace cpdcomm::schedule
