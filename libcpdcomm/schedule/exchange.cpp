#include "schedule/schedule.hpp"

namespace cpdcomm::schedule {

Schedule exchange(int rank, int ranks) {
  Schedule schedule{"exchange", rank, ranks, 1, true, {}};
  Step part{Action::send_part, 0, {}, 0, {}};
  // Each rank starts with its neighbour, so that no rank is everybody's first target.
  for (int distance = 1; distance < ranks; ++distance) {
    part.send.push_back({(rank + distance) % ranks, Payload::part, 1});
  }
  if (ranks > 1) schedule.steps.push_back(part);

  Step sum{Action::finish, 0, {}, rank, {}};
  for (int peer = 0; peer < ranks; ++peer) {
    if (peer != rank) sum.receive.push_back({peer, Payload::part, 1});
  }
  schedule.steps.push_back(sum);
  return schedule;
}

}  // namespace cpdcomm::schedule
