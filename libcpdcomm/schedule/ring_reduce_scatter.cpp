#include "schedule/schedule.hpp"

namespace cpdcomm::schedule {

Schedule ring_reduce_scatter(int rank, int ranks) {
  Schedule schedule{"ring_reduce_scatter", rank, ranks, ranks, false, {}};
  const int next = (rank + 1) % ranks;
  const int previous = (rank + ranks - 1) % ranks;

  // At hop h this rank holds h + 1 parts of chunk rank - h - 1; at the last hop that is its own.
  for (int hop = 0; hop < ranks; ++hop) {
    const int chunk = (rank - hop - 1 + 2 * ranks) % ranks;
    const bool last = hop == ranks - 1;
    Step step{last ? Action::keep : Action::join, chunk, {}, hop == 0 ? 0 : 1, {}};
    if (hop > 0) step.receive.push_back({previous, Payload::partial, hop});
    if (!last) step.send.push_back({next, Payload::partial, hop + 1});
    schedule.steps.push_back(step);
  }
  return schedule;
}

}  // namespace cpdcomm::schedule
