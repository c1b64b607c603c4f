// The double binary tree (P. Sanders, J. Speck, J. L. Traeff, Two-tree algorithms for full
// bandwidth broadcast, reduction and scan, Parallel Computing 35(12), 2009): two trees, each for
// half of the vector; who has children in one has none in the other, so that no rank works for
// both.
#include <bit>
#include <optional>

#include "schedule/schedule.hpp"

namespace cpdcomm::schedule {
namespace {

// A place in a tree is a number from 1 to `ranks`; going through the tree in order gives them in
// their order. A place at height h has h zeros behind its last one: odd places are leaves.

int height_of(int place) { return std::countr_zero(static_cast<unsigned>(place)); }

/// The parent, if there is one. Of places beyond the last their only child takes the part.
std::optional<int> parent_of(int place, int ranks) {
  const int root = static_cast<int>(std::bit_floor(static_cast<unsigned>(ranks)));
  if (place == root) return std::nullopt;
  int parent = place;
  do {
    const int step = 1 << height_of(parent);
    parent = (parent & (2 * step)) != 0 ? parent - step : parent + step;
  } while (parent > ranks);
  return parent;
}

/// One of the two trees, as ranks see it.
class Tree {
 public:
  /// @param mirrored  the second: the other way round, or with an odd number turned by one place,
  ///                  so that leaves and inner places change
  Tree(int ranks, bool mirrored) : ranks_(ranks), mirrored_(mirrored) {}

  std::optional<int> parent(int rank) const {
    const std::optional<int> parent = parent_of(place_of(rank), ranks_);
    return parent ? std::optional(rank_at(*parent)) : std::nullopt;
  }
  /// In the order of their places.
  std::vector<int> children(int rank) const {
    std::vector<int> children;
    for (int place = 1; place <= ranks_; ++place) {
      if (parent_of(place, ranks_) == place_of(rank)) children.push_back(rank_at(place));
    }
    return children;
  }
  bool comes_before(int rank, int other) const { return place_of(rank) < place_of(other); }
  /// How many ranks are at and below a rank.
  int size(int rank) const {
    int size = 1;
    for (const int child : children(rank)) size += this->size(child);
    return size;
  }

 private:
  int place_of(int rank) const {
    if (!mirrored_) return rank + 1;
    return ranks_ % 2 == 0 ? ranks_ - rank : (rank + 1) % ranks_ + 1;
  }
  int rank_at(int place) const {
    if (!mirrored_) return place - 1;
    return ranks_ % 2 == 0 ? ranks_ - place : (place + ranks_ - 2) % ranks_;
  }

  int ranks_;
  bool mirrored_;
};

/// The sum goes up.
Step step_up(const Tree& tree, int chunk, int rank, int ranks) {
  Step step{Action::finish, chunk, {}, 0, {}};
  for (const int child : tree.children(rank)) {
    step.receive.push_back({child, Payload::partial, tree.size(child)});
    if (tree.comes_before(child, rank)) ++step.own_after;
    step.send.push_back({child, Payload::result, ranks});
  }
  if (const std::optional<int> parent = tree.parent(rank)) {
    step.action = Action::join;
    step.send = {{*parent, Payload::partial, tree.size(rank)}};
  }
  return step;
}

/// The result comes down.
Step step_down(const Tree& tree, int chunk, int rank, int parent, int ranks) {
  Step step{Action::take, chunk, {{parent, Payload::result, ranks}}, 0, {}};
  for (const int child : tree.children(rank)) {
    step.send.push_back({child, Payload::result, ranks});
  }
  return step;
}

}  // namespace

Schedule tree(int rank, int ranks) {
  const int chunks = ranks > 2 ? 2 : 1;
  Schedule schedule{"tree", rank, ranks, chunks, false, {}};
  std::vector<Step> sums, results, taken;
  for (int chunk = 0; chunk < chunks; ++chunk) {
    const Tree tree(ranks, chunk == 1);
    const Step up = step_up(tree, chunk, rank, ranks);
    (up.action == Action::finish ? results : sums).push_back(up);
    if (const std::optional<int> parent = tree.parent(rank)) {
      taken.push_back(step_down(tree, chunk, rank, *parent, ranks));
    }
  }
  // Between two ranks partial sums go first: a root is a leaf of the other tree.
  for (const std::vector<Step>& steps : {sums, results, taken}) {
    schedule.steps.insert(schedule.steps.end(), steps.begin(), steps.end());
  }
  return schedule;
}

}  // namespace cpdcomm::schedule
