#include "schedule/schedule.hpp"

namespace cpdcomm::schedule {

Schedule ring(int rank, int ranks) {
  Schedule schedule{"ring", rank, ranks, ranks, false, {}};
  const int next = (rank + 1) % ranks;
  const int previous = (rank + ranks - 1) % ranks;
  const auto chunk_at = [&](int hop) { return (rank - hop + 2 * ranks) % ranks; };

  // Reduce-scatter: at hop h this rank holds h + 1 parts of chunk rank - h.
  for (int hop = 0; hop < ranks; ++hop) {
    Step step{Action::join, chunk_at(hop), {}, hop == 0 ? 0 : 1, {}};
    if (hop > 0) step.receive.push_back({previous, Payload::partial, hop});
    const bool last = hop == ranks - 1;
    if (last) step.action = Action::finish;
    if (ranks > 1) {
      step.send.push_back({next, last ? Payload::result : Payload::partial, hop + 1});
    }
    schedule.steps.push_back(step);
  }
  // All-gather: the results follow the same way.
  for (int hop = 0; hop < ranks - 1; ++hop) {
    Step step{Action::take, chunk_at(hop), {{previous, Payload::result, ranks}}, 0, {}};
    if (hop < ranks - 2) step.send.push_back({next, Payload::result, ranks});
    schedule.steps.push_back(step);
  }
  return schedule;
}

}  // namespace cpdcomm::schedule
