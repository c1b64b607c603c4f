#include <bit>

#include "schedule/schedule.hpp"

namespace cpdcomm::schedule {

Schedule broadcast(int rank, int ranks, int root) {
  Schedule schedule{"broadcast", rank, ranks, 1, false, {}};
  // Relative to the root: rank r receives from r without its highest bit and sends to r plus every
  // higher bit, the largest subtree first.
  const auto relative = static_cast<unsigned>((rank - root + ranks) % ranks);
  const auto peer_at = [&](unsigned place) {
    return static_cast<int>((place + static_cast<unsigned>(root)) % static_cast<unsigned>(ranks));
  };

  Step step{relative == 0 ? Action::finish : Action::take, 0, {}, 0, {}};
  const unsigned top = relative == 0 ? 0u : std::bit_floor(relative);
  if (relative != 0) step.receive.push_back({peer_at(relative - top), Payload::result, 1});
  unsigned bit = relative == 0 ? 1u : top << 1;
  std::vector<Message> send;
  for (; relative + bit < static_cast<unsigned>(ranks); bit <<= 1) {
    send.push_back({peer_at(relative + bit), Payload::result, 1});
  }
  step.send.assign(send.rbegin(), send.rend());
  schedule.steps.push_back(step);
  return schedule;
}

}  // namespace cpdcomm::schedule
