#include "schedule/schedule.hpp"

namespace cpdcomm::schedule {

Schedule alltoall(int rank, int ranks) {
  Schedule schedule{"alltoall", rank, ranks, ranks * ranks, false, {}};
  schedule.steps.push_back({Action::finish, rank * ranks + rank, {}, 0, {}});
  // At each distance every rank sends to one rank and receives from one.
  for (int distance = 1; distance < ranks; ++distance) {
    const int to = (rank + distance) % ranks;
    const int from = (rank + ranks - distance) % ranks;
    schedule.steps.push_back(
        {Action::finish, rank * ranks + to, {}, 0, {{to, Payload::result, 1}}});
    schedule.steps.push_back(
        {Action::take, from * ranks + rank, {{from, Payload::result, 1}}, 0, {}});
  }
  return schedule;
}

}  // namespace cpdcomm::schedule
