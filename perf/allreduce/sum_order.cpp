#include "allreduce/sum_order.hpp"

#include <fmt/format.h>

#include <deque>
#include <map>
#include <utility>

#include "cpdcomm/error.hpp"

namespace cpdcomm::perf {
namespace {

using schedule::Action;
using schedule::Message;
using schedule::Schedule;
using schedule::Step;

/// Messages arrive in the order in which a rank sent them to another. What is sent is a term of the
/// receiver's sum; a result is no term, so nothing but its coming counts.
class Play {
 public:
  explicit Play(std::span<const Schedule> by_rank)
      : by_rank_(by_rank),
        at_(by_rank.size(), 0),
        results_(static_cast<std::size_t>(by_rank.front().chunks)) {}

  std::vector<std::shared_ptr<const Sum>> run() {
    for (bool moved = true; moved;) {
      moved = false;
      for (std::size_t rank = 0; rank < by_rank_.size(); ++rank) moved = advance(rank) || moved;
    }
    for (std::size_t chunk = 0; chunk < results_.size(); ++chunk) {
      if (results_[chunk] != nullptr) continue;
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("schedule '{}' of {} ranks gives chunk {} no result",
                              by_rank_.front().name, by_rank_.size(), chunk));
    }
    return results_;
  }

 private:
  /// Goes through a rank's steps as far as messages are there; whether any was made.
  bool advance(std::size_t rank) {
    const std::vector<Step>& steps = by_rank_[rank].steps;
    const std::size_t before = at_[rank];
    while (at_[rank] < steps.size() && arrived(static_cast<int>(rank), steps[at_[rank]])) {
      act(static_cast<int>(rank), steps[at_[rank]]);
      ++at_[rank];
    }
    return at_[rank] != before;
  }

  bool arrived(int rank, const Step& step) {
    std::map<int, std::size_t> wanted;
    for (const Message& message : step.receive) {
      if (in_flight_[{message.peer, rank}].size() < ++wanted[message.peer]) return false;
    }
    return true;
  }

  std::vector<Term> take(int rank, const Step& step) {
    std::vector<Term> terms;
    for (const Message& message : step.receive) {
      auto& queue = in_flight_[{message.peer, rank}];
      terms.push_back(std::move(queue.front()));
      queue.pop_front();
    }
    return terms;
  }

  void act(int rank, const Step& step) {
    std::vector<Term> terms = take(rank, step);
    Term outcome{Term::Kind::received_part, rank};
    if (step.action == Action::join || step.action == Action::finish) {
      terms.insert(terms.begin() + step.own_after, Term{Term::Kind::own_part, rank});
      outcome = {Term::Kind::received_sum, rank, std::make_shared<const Sum>(std::move(terms))};
    }
    // Several ranks may finish a chunk: an all-reduce promises that all get the same bits.
    if (step.action == Action::finish) {
      results_[static_cast<std::size_t>(step.chunk)] = outcome.sum;
    }
    for (const Message& message : step.send) in_flight_[{rank, message.peer}].push_back(outcome);
  }

  std::span<const Schedule> by_rank_;
  std::vector<std::size_t> at_;  // the next step of each rank
  std::map<std::pair<int, int>, std::deque<Term>> in_flight_;
  std::vector<std::shared_ptr<const Sum>> results_;
};

}  // namespace

std::vector<std::shared_ptr<const Sum>> sum_orders(std::span<const Schedule> by_rank) {
  return Play(by_rank).run();
}

}  // namespace cpdcomm::perf
