// Recursive halving and doubling (R. Thakur, R. Rabenseifner, W. Gropp, Optimization of collective
// communication operations in MPICH, IJHPCA 19(1), 2005), for any number of ranks: a group of ranks
// is split into halves, and where one has a rank more, that rank joins the last pair.
#include <algorithm>
#include <vector>

#include "schedule/schedule.hpp"

namespace cpdcomm::schedule {
namespace {

/// Ranks first .. end - 1, which sum chunks of the same numbers among themselves.
struct Group {
  int first;
  int end;

  int size() const { return end - first; }
  bool has(int rank) const { return first <= rank && rank < end; }
  /// The first half has a rank more where the number is odd.
  int middle() const { return first + (size() + 1) / 2; }
  Group half_of(int rank) const {
    return rank < middle() ? Group{first, middle()} : Group{middle(), end};
  }
  Group half_without(int rank) const {
    return rank < middle() ? Group{middle(), end} : Group{first, middle()};
  }
  /// Whom a rank tells what it knows of the chunks of the other half.
  int partner_of(int rank) const {
    if (rank >= middle()) return first + (rank - middle());
    return std::min(middle() + (rank - first), end - 1);
  }
};

/// The groups of a rank, from all ranks to itself and one other.
std::vector<Group> groups_of(int rank, int ranks) {
  std::vector<Group> groups;
  for (Group group{0, ranks}; group.size() > 1; group = group.half_of(rank)) {
    groups.push_back(group);
  }
  return groups;
}

/// Those in the other half whose partner this rank is.
std::vector<int> told_by(const Group& group, int rank) {
  const Group other = group.half_without(rank);
  std::vector<int> peers;
  for (int peer = other.first; peer < other.end; ++peer) {
    if (group.partner_of(peer) == rank) peers.push_back(peer);
  }
  return peers;
}

/// In what order a rank of a group sums the group's chunks: first those of others, in the order in
/// which they need them.
void order_of_sums(Group group, int rank, std::vector<int>& chunks) {
  if (group.size() == 1) {
    chunks.push_back(rank);
    return;
  }
  order_of_sums(group.half_without(rank), group.partner_of(rank), chunks);
  order_of_sums(group.half_of(rank), rank, chunks);
}

/// In what order a rank of a group comes to know the results of the group's chunks: its own first.
void order_of_results(Group group, int rank, std::vector<int>& chunks) {
  if (group.size() == 1) {
    chunks.push_back(rank);
    return;
  }
  order_of_results(group.half_of(rank), rank, chunks);
  order_of_results(group.half_without(rank), group.partner_of(rank), chunks);
}

/// Who tells a rank what they know of a chunk, until the rank tells its partner; itself not.
std::vector<int> tellers(int rank, int chunk, int ranks) {
  std::vector<int> peers;
  for (const Group& group : groups_of(rank, ranks)) {
    if (!group.half_of(rank).has(chunk)) break;
    for (const int peer : told_by(group, rank)) peers.push_back(peer);
  }
  return peers;
}

/// How many ranks' parts of a chunk a rank has in the end, its own among them.
int parts_at(int rank, int chunk, int ranks) {
  int parts = 1;
  for (const int peer : tellers(rank, chunk, ranks)) parts += parts_at(peer, chunk, ranks);
  return parts;
}

/// Whom a rank tells of a chunk, and who tells it the chunk's result.
int partner_for(int rank, int chunk, int ranks) {
  Group group{0, ranks};
  while (group.half_of(rank).has(chunk)) group = group.half_of(rank);
  return group.partner_of(rank);
}

}  // namespace

Schedule halving_doubling(int rank, int ranks) {
  Schedule schedule{"halving_doubling", rank, ranks, ranks, false, {}};
  std::vector<int> chunks;
  order_of_sums({0, ranks}, rank, chunks);
  for (const int chunk : chunks) {
    const bool own = chunk == rank;
    Step step{own ? Action::finish : Action::join, chunk, {}, 0, {}};
    for (const int peer : tellers(rank, chunk, ranks)) {
      step.receive.push_back({peer, Payload::partial, parts_at(peer, chunk, ranks)});
      // The way of the results is that of the sums, backwards.
      if (own) step.send.insert(step.send.begin(), {peer, Payload::result, ranks});
    }
    if (!own) {
      const int parts = parts_at(rank, chunk, ranks);
      step.send.push_back({partner_for(rank, chunk, ranks), Payload::partial, parts});
    }
    schedule.steps.push_back(step);
  }
  chunks.clear();
  order_of_results({0, ranks}, rank, chunks);
  for (const int chunk : chunks) {
    if (chunk == rank) continue;
    const int partner = partner_for(rank, chunk, ranks);
    Step step{Action::take, chunk, {{partner, Payload::result, ranks}}, 0, {}};
    for (const int peer : tellers(rank, chunk, ranks)) {
      step.send.insert(step.send.begin(), {peer, Payload::result, ranks});
    }
    schedule.steps.push_back(step);
  }
  return schedule;
}

}  // namespace cpdcomm::schedule
