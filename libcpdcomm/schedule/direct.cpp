#include "schedule/schedule.hpp"

namespace cpdcomm::schedule {

Schedule direct(int rank, int ranks) {
  Schedule schedule{"direct", rank, ranks, ranks, true, {}};
  // Each rank starts with its neighbour, so that no owner is everybody's first target.
  const auto peer_at = [&](int distance) { return (rank + distance) % ranks; };

  for (int distance = 1; distance < ranks; ++distance) {
    const int owner = peer_at(distance);
    schedule.steps.push_back({Action::send_part, owner, {}, 0, {{owner, Payload::part, 1}}});
  }

  Step own{Action::finish, rank, {}, rank, {}};
  for (int peer = 0; peer < ranks; ++peer) {
    if (peer != rank) own.receive.push_back({peer, Payload::part, 1});
  }
  for (int distance = 1; distance < ranks; ++distance) {
    own.send.push_back({peer_at(distance), Payload::result, ranks});
  }
  schedule.steps.push_back(own);

  for (int distance = 1; distance < ranks; ++distance) {
    const int owner = peer_at(ranks - distance);
    schedule.steps.push_back({Action::take, owner, {{owner, Payload::result, ranks}}, 0, {}});
  }
  return schedule;
}

}  // namespace cpdcomm::schedule
