#include "collective/tuning/tuner.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <utility>

namespace cpdcomm::collective::tuning {
namespace {

std::string name_of(const Plan& plan) {
  if (plan.native()) return "native";
  return to_string(Way{plan.algorithm, plan.across, plan.exchange, plan.segment_bytes});
}

/// ", what 12.5 us"; nothing where it was no choice.
std::string predicted(const char* what, double seconds) {
  return seconds < Decision::kNone ? fmt::format(", {} {:.4g} us", what, seconds * 1e6) : "";
}

}  // namespace

void Tuner::use(Table table, std::string source) {
  own_table_ = std::move(table);
  table_ = &own_table_;
  source_ = std::move(source);
  kept_.fill({});
}

const Plan& Tuner::plan(const Question& question) {
  for (const Kept& kept : kept_) {
    if (kept.used && kept.question == question) return kept.plan;
  }
  Kept& oldest = kept_[next_];
  next_ = (next_ + 1) % kKept;
  oldest = {question, decide(question), true};
  return oldest.plan;
}

Plan Tuner::decide(const Question& question) {
  Decision decision = tuning::decide(*table_, place_, question);
  if (segment_bytes_ != 0) decision.plan.segment_bytes = segment_bytes_;
  if (tells_) tell(question, decision);
  return decision.plan;
}

/// One line for each kind of decision: sizes that are treated alike are one kind.
void Tuner::tell(const Question& question, const Decision& decision) {
  const Plan& plan = decision.plan;
  const std::string kind =
      fmt::format("{} {} {} {} {} {}", question.wire.to_string(), to_string(question.algorithm),
                  to_string(question.accumulate), question.plain_bytes > 0, name_of(plan),
                  plan.native() ? 0 : plan.segment_bytes) +
      (plan.compressed ? "" : " uncompressed");
  if (std::ranges::find(told_, kind) != told_.end()) return;
  told_.push_back(kind);
  fmt::print(stderr,
             "cpdcomm: all-reduce of {:.0f} bytes as {} ({}, {}) on {} ranks, {} hosts: {}{}{}, "
             "because {}; predicted{}{}{}; table: {}\n",
             question.bytes + question.plain_bytes, question.wire.to_string(),
             to_string(question.algorithm), to_string(question.accumulate), place_.ranks,
             place_.hosts, name_of(plan), plan.compressed ? "" : ", not compressed",
             plan.native() ? "" : fmt::format(", segments of {} bytes", plan.segment_bytes),
             plan.reason, predicted("as asked for", decision.asked),
             predicted("own FP32", decision.plain), predicted("native", decision.native), source_);
}

}  // namespace cpdcomm::collective::tuning
