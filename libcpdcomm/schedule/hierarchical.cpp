// The vector is cut into one share for each place on the smallest host ("slot"). A slot's holders,
// one on each host, sum it across hosts; each gathers the parts of its own host before.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "cpdcomm/error.hpp"
#include "schedule/schedule.hpp"

namespace cpdcomm::schedule {
namespace {

/// Who is where.
class Places {
 public:
  explicit Places(const Hosts& hosts) : host_of_(hosts) {
    for (std::size_t rank = 0; rank < hosts.size(); ++rank) {
      if (hosts[rank] < 0 || hosts[rank] > count()) refuse(rank);
      if (hosts[rank] == count()) ranks_.emplace_back();
      ranks_[static_cast<std::size_t>(hosts[rank])].push_back(static_cast<int>(rank));
    }
    smallest_ = static_cast<int>(std::ranges::min(ranks_, {}, &std::vector<int>::size).size());
  }

  int count() const { return static_cast<int>(ranks_.size()); }
  int ranks() const { return static_cast<int>(host_of_.size()); }
  int host_of(int rank) const { return host_of_.at(static_cast<std::size_t>(rank)); }
  /// In rank order.
  const std::vector<int>& ranks_on(int host) const {
    return ranks_[static_cast<std::size_t>(host)];
  }
  int size(int host) const { return static_cast<int>(ranks_on(host).size()); }
  int rank_at(int host, int place) const { return ranks_on(host)[static_cast<std::size_t>(place)]; }
  int place_of(int rank) const {
    const std::vector<int>& neighbours = ranks_on(host_of(rank));
    return static_cast<int>(std::ranges::find(neighbours, rank) - neighbours.begin());
  }
  /// Ranks on the smallest host.
  int smallest() const { return smallest_; }
  bool are_equal() const { return smallest() * count() == ranks(); }

 private:
  [[noreturn]] void refuse(std::size_t rank) const {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("rank {} is on host {}; hosts are numbered from 0 in the order of "
                            "their first ranks, so allowed is 0 to {}",
                            rank, host_of_[rank], count()));
  }

  Hosts host_of_;
  std::vector<std::vector<int>> ranks_;  // by host
  int smallest_ = 0;
};

/// Whether a host's own part is sent or joined in a step.
bool enters(const Step& step) {
  return step.action == Action::send_part || step.action == Action::join ||
         step.action == Action::finish;
}

bool makes_result(const Step& step) {
  return step.action == Action::finish || step.action == Action::take;
}

/// How many ranks' parts are in the messages between hosts.
class Counts {
 public:
  Counts(const Places& places, Flat across) : places_(places), across_(across) {}

  /// @param sender  host that sends the message, of this chunk of the schedule across hosts
  int parts(int sender, int chunk, const Message& message) {
    if (message.payload == Payload::result) return places_.ranks();
    // With equal hosts no other host's schedule is needed.
    if (places_.are_equal()) return message.parts * places_.smallest();
    return message.payload == Payload::part ? places_.size(sender) : in_partial(sender, chunk);
  }

 private:
  int in_partial(int host, int chunk) {
    int sum = places_.size(host);
    for (const Message& message : joined(host)[static_cast<std::size_t>(chunk)]) {
      sum += parts(message.peer, chunk, message);
    }
    return sum;
  }

  /// What a host joins with its own part, for each chunk.
  const std::vector<std::vector<Message>>& joined(int host) {
    std::vector<std::vector<Message>>& by_chunk = joined_[host];
    if (by_chunk.empty()) {
      const Schedule schedule = across_(host, places_.count());
      by_chunk.resize(static_cast<std::size_t>(schedule.chunks));
      for (const Step& step : schedule.steps) {
        if (enters(step)) by_chunk[static_cast<std::size_t>(step.chunk)] = step.receive;
      }
    }
    return by_chunk;
  }

  const Places& places_;
  Flat across_;
  std::map<int, std::vector<std::vector<Message>>> joined_;  // by host
};

/// The steps of one rank. All slots of a host go through the same steps of the schedule across
/// hosts side by side, and what ranks of a host send each other lies between these steps. No host
/// shall wait for another because two neighbours wait for each other: so before each step parts
/// are sent for all steps up to the next link of a chain between hosts, and the results of a step
/// are taken behind that one. Thus both ends have a pair's messages in one order, too.
class Weaver {
 public:
  Weaver(int rank, const Places& places, Flat across)
      : places_(places),
        counts_(places, across),
        host_(places.host_of(rank)),
        place_(places.place_of(rank)),
        slots_(places.smallest()),
        outer_(across(host_, places.count())),
        schedule_{"hierarchical",      rank, places.ranks(), slots_ * outer_.chunks,
                  outer_.parts_travel, {}} {}

  Schedule weave() {
    std::size_t given = 0, taken = 0;
    for (std::size_t i = 0; i < outer_.steps.size(); ++i) {
      while (given <= next_link(i)) send_parts(given++);
      if (place_ < slots_) schedule_.steps.push_back(held(outer_.steps[i]));
      while (taken < i && next_link(taken) <= i) take_results(taken++);
    }
    while (taken < outer_.steps.size()) take_results(taken++);
    return std::move(schedule_);
  }

 private:
  int chunk_of(int slot, int chunk) const { return slot * outer_.chunks + chunk; }
  int neighbours() const { return places_.size(host_); }
  /// The rank so many places on, round the host.
  int place_at(int distance) const { return (place_ + distance) % neighbours(); }

  /// The step behind this one that both waits for a host and is waited for; the last, if none is.
  std::size_t next_link(std::size_t i) const {
    const std::vector<Step>& steps = outer_.steps;
    const auto is_link = [](const Step& s) { return !s.receive.empty() && !s.send.empty(); };
    const auto behind = steps.begin() + static_cast<std::ptrdiff_t>(i) + 1;
    const auto found = std::find_if(behind, steps.end(), is_link);
    return static_cast<std::size_t>(found - steps.begin()) - (found == steps.end() ? 1 : 0);
  }

  /// This rank's parts of what the other holders of its host send or join in a step.
  void send_parts(std::size_t i) {
    if (!enters(outer_.steps[i])) return;
    for (int distance = 1; distance < neighbours(); ++distance) {
      const int slot = place_at(distance);
      if (slot >= slots_) continue;
      const Message part{places_.rank_at(host_, slot), Payload::part, 1, Leg::inside_host};
      schedule_.steps.push_back(
          {Action::send_part, chunk_of(slot, outer_.steps[i].chunk), {}, 0, {part}});
    }
  }

  /// What the other holders of its host came to know in a step.
  void take_results(std::size_t i) {
    if (!makes_result(outer_.steps[i])) return;
    for (int distance = neighbours() - 1; distance > 0; --distance) {
      const int slot = place_at(distance);
      if (slot >= slots_) continue;
      const Message result{places_.rank_at(host_, slot), Payload::result, places_.ranks(),
                           Leg::inside_host};
      schedule_.steps.push_back(
          {Action::take, chunk_of(slot, outer_.steps[i].chunk), {result}, 0, {}});
    }
  }

  /// A step across hosts, as the holder of this rank's slot does it.
  Step held(const Step& outer) {
    Step step = outer;
    step.chunk = chunk_of(place_, outer.chunk);
    for (Message& message : step.receive) {
      message.parts = counts_.parts(message.peer, outer.chunk, message);
      message.peer = places_.rank_at(message.peer, place_);
    }
    for (Message& message : step.send) {
      message.parts = counts_.parts(host_, outer.chunk, message);
      message.peer = places_.rank_at(message.peer, place_);
    }
    if (enters(outer)) gather(step);
    if (makes_result(outer)) spread(step);
    return step;
  }

  void gather(Step& step) const {
    for (const int peer : places_.ranks_on(host_)) {
      if (peer == schedule_.rank) continue;
      step.inside.push_back({peer, Payload::part, 1, Leg::inside_host});
    }
    step.own_inside_after = place_;
  }

  void spread(Step& step) const {
    for (int distance = 1; distance < neighbours(); ++distance) {
      step.send.push_back({places_.rank_at(host_, place_at(distance)), Payload::result,
                           places_.ranks(), Leg::inside_host});
    }
  }

  const Places& places_;
  Counts counts_;
  int host_;
  int place_;  // among the ranks of the host
  int slots_;
  Schedule outer_;
  Schedule schedule_;
};

/// A host's part is made where it enters; an algorithm that needs it again has no place for it.
void check_enters_once(Flat across) {
  const Schedule schedule = across(0, 2);
  std::vector<int> times(static_cast<std::size_t>(schedule.chunks), 0);
  for (const Step& step : schedule.steps) {
    if (!enters(step) || ++times[static_cast<std::size_t>(step.chunk)] == 1) continue;
    throw Error(ErrorCode::invalid_argument,
                fmt::format("hierarchical cannot have {} across hosts: it uses a rank's part more "
                            "than once; allowed are direct, ring, tree and halving_doubling",
                            schedule.name));
  }
}

}  // namespace

Schedule hierarchical(int rank, const Hosts& hosts, Flat across) {
  check_enters_once(across);
  const Places places(hosts);
  return Weaver(rank, places, across).weave();
}

}  // namespace cpdcomm::schedule
