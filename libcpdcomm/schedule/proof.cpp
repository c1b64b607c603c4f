#include "schedule/proof.hpp"

#include <fmt/format.h>

#include <deque>
#include <map>
#include <set>
#include <utility>

namespace cpdcomm::schedule {
namespace {

struct Carried {
  int chunk;
  Message as_sent;
  std::multiset<int> ranks;
};

/// What comes out of a step.
Payload payload_of(Action action) {
  switch (action) {
    case Action::send_part:
      return Payload::part;
    case Action::join:
      return Payload::partial;
    default:
      return Payload::result;
  }
}

class Play {
 public:
  explicit Play(std::span<const Schedule> by_rank) : by_rank_(by_rank), at_(by_rank.size(), 0) {}

  std::string run() {
    while (advance_any()) {
      if (!fault_.empty()) return fault_;
    }
    for (std::size_t rank = 0; rank < by_rank_.size(); ++rank) {
      if (at_[rank] != by_rank_[rank].steps.size()) {
        return fmt::format("rank {} waits for ever in step {}", rank, at_[rank]);
      }
    }
    for (const auto& [pair, queue] : in_flight_) {
      if (!queue.empty()) {
        return fmt::format("rank {} never takes a message of rank {}", pair.second, pair.first);
      }
    }
    return missing_results();
  }

 private:
  bool advance_any() {
    bool moved = false;
    for (std::size_t rank = 0; rank < by_rank_.size() && fault_.empty(); ++rank) {
      while (at_[rank] < by_rank_[rank].steps.size() && fault_.empty()) {
        const Step& step = by_rank_[rank].steps[at_[rank]];
        if (!arrived(static_cast<int>(rank), step)) break;
        act(static_cast<int>(rank), step);
        ++at_[rank];
        moved = true;
      }
    }
    return moved;
  }

  bool arrived(int rank, const Step& step) {
    std::map<int, std::size_t> wanted;
    for (const Message& message : step.receive) ++wanted[message.peer];
    for (const auto& [peer, count] : wanted) {
      if (in_flight_[{peer, rank}].size() < count) return false;
    }
    return true;
  }

  void act(int rank, const Step& step) {
    const bool joins = step.action == Action::join || step.action == Action::finish;
    if (joins && (step.own_after < 0 || step.own_after > static_cast<int>(step.receive.size()))) {
      fault_ = fmt::format("rank {} never joins its own part of chunk {}", rank, step.chunk);
      return;
    }
    std::multiset<int> held;
    if (step.action != Action::take) held.insert(rank);
    for (const Message& message : step.receive) {
      auto& queue = in_flight_[{message.peer, rank}];
      const Carried carried = queue.front();
      queue.pop_front();
      if (carried.chunk != step.chunk || carried.as_sent.payload != message.payload ||
          carried.as_sent.parts != message.parts) {
        fault_ = fmt::format("rank {} expects another message than rank {} sends in chunk {}", rank,
                             message.peer, step.chunk);
        return;
      }
      held.insert(carried.ranks.begin(), carried.ranks.end());
    }
    if (step.action == Action::finish || step.action == Action::take) keep(rank, step.chunk, held);
    for (const Message& message : step.send) {
      if (message.payload != payload_of(step.action)) {
        fault_ = fmt::format("rank {} sends chunk {} as what it is not", rank, step.chunk);
        return;
      }
      if (held.size() != static_cast<std::size_t>(message.parts)) {
        fault_ = fmt::format("rank {} says {} parts of chunk {} and holds {}", rank, message.parts,
                             step.chunk, held.size());
        return;
      }
      in_flight_[{rank, message.peer}].push_back({step.chunk, message, held});
    }
  }

  void keep(int rank, int chunk, const std::multiset<int>& held) {
    std::multiset<int> all;
    for (int i = 0; i < static_cast<int>(by_rank_.size()); ++i) all.insert(i);
    if (held != all) {
      fault_ =
          fmt::format("rank {} finishes chunk {} without every part exactly once", rank, chunk);
    }
    if (!results_.insert({rank, chunk}).second) {
      fault_ = fmt::format("rank {} gets chunk {} twice", rank, chunk);
    }
  }

  std::string missing_results() const {
    for (const Schedule& schedule : by_rank_) {
      for (int chunk = 0; chunk < schedule.chunks; ++chunk) {
        if (!results_.contains({schedule.rank, chunk})) {
          return fmt::format("rank {} never gets chunk {}", schedule.rank, chunk);
        }
      }
    }
    return {};
  }

  std::span<const Schedule> by_rank_;
  std::vector<std::size_t> at_;
  std::map<std::pair<int, int>, std::deque<Carried>> in_flight_;
  std::set<std::pair<int, int>> results_;
  std::string fault_;
};

}  // namespace

std::string disprove_allreduce(std::span<const Schedule> by_rank) { return Play(by_rank).run(); }

}  // namespace cpdcomm::schedule
