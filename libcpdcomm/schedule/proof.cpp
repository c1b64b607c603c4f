#include "schedule/proof.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <utility>
#include <vector>

namespace cpdcomm::schedule {
namespace {

struct Carried {
  int chunk;
  Message as_sent;
  std::multiset<int> ranks;
};

/// What must come out.
struct Goal {
  std::function<bool(int rank, int chunk)> needs;           ///< who must get a chunk
  std::function<std::multiset<int>(int chunk)> parts = {};  ///< of a chunk; none: every rank's
  bool keeps = false;  ///< results are kept as they are, and by those alone who need them
};

Goal goal_of(Movement movement, int ranks, int root) {
  const auto at_root = [root](int rank, int) { return rank == root; };
  const auto everywhere = [](int, int) { return true; };
  const auto of_owner = [](int chunk) { return std::multiset<int>{chunk}; };
  const auto of_root = [root](int) { return std::multiset<int>{root}; };
  switch (movement) {
    case Movement::broadcast:
      return {everywhere, of_root};
    case Movement::allgather:
      return {everywhere, of_owner};
    case Movement::gather:
      return {at_root, of_owner};
    case Movement::scatter:
      return {[](int rank, int chunk) { return rank == chunk; }, of_root};
    case Movement::alltoall:
      return {[ranks](int rank, int chunk) { return chunk % ranks == rank; },
              [ranks](int chunk) { return std::multiset<int>{chunk / ranks}; }};
    case Movement::reduce:
      return {at_root};
  }
  return {everywhere};
}

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

bool joins(Action action) {
  return action == Action::join || action == Action::finish || action == Action::keep;
}

bool is_place_in(int place, const std::vector<Message>& messages) {
  return place >= 0 && place <= static_cast<int>(messages.size());
}

/// How many messages of each peer a step takes.
std::map<int, std::size_t> wanted_by(const Step& step) {
  std::map<int, std::size_t> wanted;
  for (const Message& message : step.inside) ++wanted[message.peer];
  for (const Message& message : step.receive) ++wanted[message.peer];
  return wanted;
}

class Play {
 public:
  Play(std::span<const Schedule> by_rank, Goal goal)
      : by_rank_(by_rank), goal_(std::move(goal)), at_(by_rank.size(), 0) {
    for (int rank = 0; rank < static_cast<int>(by_rank.size()); ++rank) all_.insert(rank);
  }

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
    for (const auto& [peer, count] : wanted_by(step)) {
      if (in_flight_[{peer, rank}].size() < count) return false;
    }
    return true;
  }

  void act(int rank, const Step& step) {
    check_form(rank, step);
    std::multiset<int> held;
    if (step.action != Action::take) held.insert(rank);
    for (const Message& message : step.inside) receive(rank, step.chunk, message, held);
    for (const Message& message : step.receive) receive(rank, step.chunk, message, held);
    if (!fault_.empty()) return;
    if (step.action != Action::send_part && step.action != Action::join) {
      keep(rank, step, held);
    }
    for (const Message& message : step.send) send(rank, step, message, held);
  }

  /// What is wrong with a step whatever its messages hold.
  void check_form(int rank, const Step& step) {
    if ((joins(step.action) && !is_place_in(step.own_after, step.receive)) ||
        !is_place_in(step.own_inside_after, step.inside)) {
      fault_ = fmt::format("rank {} never joins its own part of chunk {}", rank, step.chunk);
    }
    if (step.action == Action::take && !(step.inside.empty() && step.receive.size() == 1)) {
      fault_ = fmt::format("rank {} takes chunk {} from more or less than one", rank, step.chunk);
    }
    if (step.action == Action::send_part && !step.receive.empty()) {
      fault_ = fmt::format("rank {} drops what it receives of chunk {}", rank, step.chunk);
    }
    for (const Message& message : step.inside) {
      if (message.payload != Payload::part || message.leg != Leg::inside_host) {
        fault_ = fmt::format("rank {} expects no part of its host from rank {} in chunk {}", rank,
                             message.peer, step.chunk);
      }
    }
  }

  void receive(int rank, int chunk, const Message& expected, std::multiset<int>& held) {
    auto& queue = in_flight_[{expected.peer, rank}];
    const Carried carried = queue.front();
    queue.pop_front();
    if (carried.chunk != chunk || carried.as_sent.payload != expected.payload ||
        carried.as_sent.parts != expected.parts || carried.as_sent.leg != expected.leg) {
      fault_ = fmt::format("rank {} expects another message than rank {} sends in chunk {}", rank,
                           expected.peer, chunk);
    }
    held.insert(carried.ranks.begin(), carried.ranks.end());
  }

  void send(int rank, const Step& step, const Message& message, const std::multiset<int>& held) {
    if (step.action == Action::keep || message.payload != payload_of(step.action)) {
      fault_ = fmt::format("rank {} sends chunk {} as what it is not", rank, step.chunk);
    } else if (held.size() != static_cast<std::size_t>(message.parts)) {
      fault_ = fmt::format("rank {} says {} parts of chunk {} and holds {}", rank, message.parts,
                           step.chunk, held.size());
    }
    in_flight_[{rank, message.peer}].push_back({step.chunk, message, held});
  }

  void keep(int rank, const Step& step, const std::multiset<int>& held) {
    if ((step.action == Action::keep) != goal_.keeps) {
      fault_ = fmt::format("rank {} ends chunk {} as another operation does", rank, step.chunk);
    }
    if (goal_.keeps && !goal_.needs(rank, step.chunk)) {
      fault_ = fmt::format("rank {} keeps chunk {}, which is not its own", rank, step.chunk);
    }
    if (held != (goal_.parts ? goal_.parts(step.chunk) : all_)) {
      fault_ = fmt::format("rank {} finishes chunk {} without every part exactly once", rank,
                           step.chunk);
    }
    if (!results_.insert({rank, step.chunk}).second) {
      fault_ = fmt::format("rank {} gets chunk {} twice", rank, step.chunk);
    }
  }

  std::string missing_results() const {
    for (const Schedule& schedule : by_rank_) {
      for (int chunk = 0; chunk < schedule.chunks; ++chunk) {
        if (goal_.needs(schedule.rank, chunk) && !results_.contains({schedule.rank, chunk})) {
          return fmt::format("rank {} never gets chunk {}", schedule.rank, chunk);
        }
      }
    }
    return {};
  }

  std::span<const Schedule> by_rank_;
  Goal goal_;
  std::vector<std::size_t> at_;
  std::multiset<int> all_;
  std::map<std::pair<int, int>, std::deque<Carried>> in_flight_;
  std::set<std::pair<int, int>> results_;
  std::string fault_;
};

/// Counts messages only, with one rank that stops after each of its steps.
class Flood {
 public:
  Flood(std::span<const Schedule> by_rank, std::size_t slow)
      : by_rank_(by_rank),
        slow_(slow),
        at_(by_rank.size(), 0),
        under_way_(by_rank.size() * by_rank.size(), 0) {}

  int most() {
    int most = 0;
    do {
      run_others();
      most = std::max(most, waiting_for_slow());
    } while (advance(slow_));
    return most;
  }

 private:
  void run_others() {
    for (bool moved = true; moved;) {
      moved = false;
      for (std::size_t rank = 0; rank < by_rank_.size(); ++rank) {
        while (rank != slow_ && advance(rank)) moved = true;
      }
    }
  }

  bool advance(std::size_t rank) {
    if (at_[rank] == by_rank_[rank].steps.size()) return false;
    const Step& step = by_rank_[rank].steps[at_[rank]];
    const auto wanted = wanted_by(step);
    const auto is_there = [&](const auto& entry) {
      return queue(entry.first, rank) >= entry.second;
    };
    if (!std::ranges::all_of(wanted, is_there)) return false;
    for (const auto& [peer, count] : wanted) queue(peer, rank) -= count;
    for (const Message& message : step.send) {
      ++queue(static_cast<int>(rank), static_cast<std::size_t>(message.peer));
    }
    ++at_[rank];
    return true;
  }

  int waiting_for_slow() {
    std::size_t sum = 0;
    for (int peer = 0; peer < static_cast<int>(by_rank_.size()); ++peer) sum += queue(peer, slow_);
    return static_cast<int>(sum);
  }

  std::size_t& queue(int from, std::size_t to) {
    return under_way_[static_cast<std::size_t>(from) * by_rank_.size() + to];
  }

  std::span<const Schedule> by_rank_;
  std::size_t slow_;
  std::vector<std::size_t> at_;
  std::vector<std::size_t> under_way_;  // from each rank to each
};

}  // namespace

std::string disprove_allreduce(std::span<const Schedule> by_rank) {
  return Play(by_rank, {.needs = [](int, int) { return true; }}).run();
}

std::string disprove_reduce_scatter(std::span<const Schedule> by_rank) {
  const auto owner = [](int rank, int chunk) { return rank == chunk; };
  return Play(by_rank, {.needs = owner, .keeps = true}).run();
}

std::string disprove(Movement movement, std::span<const Schedule> by_rank, int root) {
  return Play(by_rank, goal_of(movement, static_cast<int>(by_rank.size()), root)).run();
}

int most_messages_waiting(std::span<const Schedule> by_rank) {
  int most = 0;
  for (std::size_t rank = 0; rank < by_rank.size(); ++rank) {
    most = std::max(most, Flood(by_rank, rank).most());
  }
  return most;
}

}  // namespace cpdcomm::schedule
