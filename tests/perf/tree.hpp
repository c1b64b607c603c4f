#pragma once

#include <vector>

#include "schedule/schedule.hpp"

namespace cpdcomm::perf::testing {

/// A made-up all-reduce of one chunk over six ranks with everything that a schedule may hold: sums
/// that go on, sums that join later, an own part before, between and after, and a part by itself.
inline std::vector<schedule::Schedule> all_ranks_of_tree() {
  using schedule::Action;
  using schedule::Message;
  using schedule::Payload;
  const auto partial = [](int peer, int parts) { return Message{peer, Payload::partial, parts}; };
  const auto result = [](int peer) { return Message{peer, Payload::result, 6}; };
  std::vector<schedule::Schedule> by_rank;
  for (int rank = 0; rank < 6; ++rank) by_rank.push_back({"tree", rank, 6, 1, false, {}});
  const auto step = [&](std::size_t rank, const schedule::Step& what) {
    by_rank[rank].steps.push_back(what);
  };
  step(1, {Action::join, 0, {}, 0, {partial(0, 1)}});
  step(3, {Action::join, 0, {}, 0, {partial(2, 1)}});
  step(2, {Action::join, 0, {partial(3, 1)}, 1, {partial(0, 2)}});
  step(0, {Action::join, 0, {partial(1, 1), partial(2, 2)}, 1, {partial(4, 4)}});
  step(5, {Action::send_part, 0, {}, 0, {{4, Payload::part, 1}}});
  step(4, {Action::finish,
           0,
           {partial(0, 4), {5, Payload::part, 1}},
           1,
           {result(0), result(1), result(2), result(3), result(5)}});
  for (const std::size_t rank : {0u, 1u, 2u, 3u, 5u}) {
    step(rank, {Action::take, 0, {result(4)}, 0, {}});
  }
  return by_rank;
}

}  // namespace cpdcomm::perf::testing
