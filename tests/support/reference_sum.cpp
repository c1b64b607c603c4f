#include "support/reference_sum.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "support/bits.hpp"
#include "support/reference_cast.hpp"

namespace cpdcomm::testing {
namespace {

/// NaN where a value is not finite.
float largest_in(const std::vector<Parts>& by_rank, std::size_t first, std::size_t stop) {
  float largest = 0;
  for (const Parts& parts : by_rank) {
    for (const auto& part : parts) {
      for (std::size_t i = first; i < stop; ++i) {
        if (!std::isfinite(part[i])) return std::numeric_limits<float>::quiet_NaN();
        largest = std::max(largest, std::fabs(part[i]));
      }
    }
  }
  return largest;
}

}  // namespace

AllreduceOptions SumRules::options() const {
  AllreduceOptions options{
      .op = op, .wire = wire, .accumulate = accumulate, .algorithm = algorithm};
  options.scaling = {aps ? Scaling::Kind::aps : Scaling::Kind::none, group};
  return options;
}

ReferenceSum::ReferenceSum(const std::vector<Parts>& by_rank, const SumRules& rules,
                           std::vector<schedule::Schedule> schedules,
                           const std::vector<Parts>& scaled_by)
    : by_rank_(by_rank),
      rules_(rules),
      scaled_(rules.aps && !rules.wire.is_fp32()),
      schedules_(std::move(schedules)) {
  const std::vector<Parts>& all = scaled_by.empty() ? by_rank : scaled_by;
  for (const Parts& parts : all) world_ += parts.size();
  const std::size_t count = by_rank[0][0].size();
  group_ = rules.group == 0 ? std::max<std::size_t>(count, 1) : rules.group;
  for (std::size_t first = 0; first < count; first += group_) {
    largest_.push_back(largest_in(all, first, std::min(count, first + group_)));
  }
}

float ReferenceSum::cast(float x, int shift) const {
  return reference_cast(x, rules_.wire, shift, scaled_);
}

void ReferenceSum::add(Partial& to, float part) const {
  switch (rules_.accumulate) {
    case Accumulate::wide:
      to.sum += part;
      return;
    case Accumulate::rounded:
      to.sum = cast(to.sum + part);
      return;
    case Accumulate::kahan:
      join(to, {part, 0});
      return;
    default:
      ADD_FAILURE() << "no sum of floats: " << to_string(rules_.accumulate);
  }
}

void ReferenceSum::join(Partial& to, Partial later) const {
  if (rules_.accumulate != Accumulate::kahan) {
    add(to, later.sum);
    return;
  }
  const float y = cast(later.sum - cast(to.compensation + later.compensation));
  const float t = cast(to.sum + y);
  to.compensation = cast(cast(t - to.sum) - y);
  to.sum = t;
}

/// The sum of one rank's emulated nodes.
ReferenceSum::Partial ReferenceSum::inside(const Parts& parts, std::size_t i, int shift) const {
  Partial sum;
  for (const auto& part : parts) add(sum, cast(part[i], shift));
  return sum;
}

void ReferenceSum::enter(Partial& to, const Parts& parts, std::size_t i, int shift) const {
  const bool stays_wide = by_hops() && rules_.accumulate == Accumulate::wide;
  if (parts.size() == 1) {
    add(to, stays_wide ? reference_cast(parts[0][i], Format(), shift) : cast(parts[0][i], shift));
    return;
  }
  Partial part = inside(parts, i, shift);
  if (!stays_wide) part.sum = cast(part.sum);
  join(to, part);
}

/// Of direct, and with the rank that begins of a ring.
ReferenceSum::Partial ReferenceSum::in_order(std::size_t i, int shift, std::size_t begin) const {
  Partial total;
  for (std::size_t k = 0; k < by_rank_.size(); ++k) {
    if (by_hops() && k > 0) total.sum = cast(total.sum);  // it has travelled
    enter(total, by_rank_[(begin + k) % by_rank_.size()], i, shift);
  }
  return total;
}

/// What a rank has after a step.
ReferenceSum::Partial ReferenceSum::sum_at(const schedule::Step& step, std::size_t rank,
                                           std::size_t i, int shift) const {
  Partial total;
  for (std::size_t k = 0; k <= step.receive.size(); ++k) {
    if (k == static_cast<std::size_t>(step.own_after)) enter(total, by_rank_[rank], i, shift);
    if (k == step.receive.size()) break;
    const auto peer = static_cast<std::size_t>(step.receive[k].peer);
    Partial received;
    for (const schedule::Step& sent : schedules_[peer].steps) {
      if (sent.chunk != step.chunk || sent.action != schedule::Action::join) continue;
      received = sum_at(sent, peer, i, shift);
    }
    received.sum = cast(received.sum);  // it has travelled
    if (k == 0 && step.own_after != 0) {
      total = received;
    } else {
      join(total, received);
    }
  }
  return total;
}

ReferenceSum::Partial ReferenceSum::as_scheduled(std::size_t i, int shift, int chunk) const {
  for (std::size_t rank = 0; rank < schedules_.size(); ++rank) {
    for (const schedule::Step& step : schedules_[rank].steps) {
      const bool last = step.action == schedule::Action::finish && step.chunk == chunk;
      if (last) return sum_at(step, rank, i, shift);
    }
  }
  ADD_FAILURE() << "nobody finishes chunk " << chunk;
  return {};
}

float ReferenceSum::at(std::size_t i, int chunk) const {
  const float largest = largest_[i / group_];
  if (scaled_ && std::isnan(largest)) return value_of(0x7fc00000u);
  int shift = 0;
  if (scaled_ && largest != 0)
    shift = top_exponent(rules_.wire) - reference_exponent(largest, world_);

  const std::size_t begin = by_hops() ? static_cast<std::size_t>(chunk) : 0;
  const Partial total =
      schedules_.empty() ? in_order(i, shift, begin) : as_scheduled(i, shift, chunk);
  float result = reference_cast(cast(total.sum), Format(), -shift);
  if (rules_.op == ReduceOp::average) result /= static_cast<float>(world_);
  return std::isnan(result) ? value_of(0x7fc00000u) : result;
}

}  // namespace cpdcomm::testing
