#pragma once

#include <memory>
#include <span>
#include <vector>

#include "schedule/schedule.hpp"

namespace cpdcomm::perf {

struct Term;

/// A partial sum or a result: what joins, in this order.
using Sum = std::vector<Term>;

/// What joins a sum.
struct Term {
  enum class Kind {
    own_part,       ///< of the rank that joins
    received_part,  ///< of another rank
    received_sum,   ///< that another rank has begun
  };
  Kind kind;
  int rank;                             ///< of a part: whose
  std::shared_ptr<const Sum> sum = {};  ///< of a received sum
};

/// How the result of every chunk comes about, found by playing an all-reduce through with messages
/// that carry sums instead of bytes.
/// @param by_rank  the schedule of every rank, in rank order
/// @throws Error invalid_argument when they do not give every chunk a result
std::vector<std::shared_ptr<const Sum>> sum_orders(std::span<const schedule::Schedule> by_rank);

}  // namespace cpdcomm::perf
