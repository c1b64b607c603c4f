#pragma once

#include <limits>

#include "collective/plan.hpp"
#include "collective/tuning/question.hpp"
#include "collective/tuning/table.hpp"

namespace cpdcomm::collective::tuning {

/// A plan, and the seconds that were predicted for what there was to choose from.
struct Decision {
  static constexpr double kNone = std::numeric_limits<double>::infinity();

  Plan plan;
  double asked = kNone;   ///< the best own way with the wire format that was asked for
  double plain = kNone;   ///< the best own way in FP32, where that may be taken instead
  double native = kNone;  ///< the network's own, where that may be taken
};

/// What `automatic` does, and what a named algorithm leaves open. Depends on its arguments alone,
/// not on clocks: every rank decides the same, and so does every run.
///
/// A named algorithm is taken, and compresses. Only calls that may decline (Question) go without
/// compression, or by the network's own all-reduce: these are taken unless what the library does
/// itself is faster by the table's margin. Beside FP32 `exchange` is enough where it is
/// nearly as fast, because it finds mistakes that a network does not.
///
/// In the place that was measured what was measured there is what there is to choose from; anywhere
/// else it is every schedule, by the cost model fed with the links of the nearest place. `direct`
/// and `exchange` are left to at most kMostDirectRanks ranks, unless a rule or a call names them.
Decision decide(const Table& table, const Place& place, const Question& question);

}  // namespace cpdcomm::collective::tuning
