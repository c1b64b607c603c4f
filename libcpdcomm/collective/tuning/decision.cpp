#include "collective/tuning/decision.hpp"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "collective/tuning/forecast.hpp"

namespace cpdcomm::collective::tuning {
namespace {

// Within the 5 microseconds that nobody is to notice, with room for what a table does not know.
constexpr double kNearly = 2e-6;

constexpr std::array kFlat{Algorithm::direct, Algorithm::ring, Algorithm::tree,
                           Algorithm::halving_doubling};
constexpr std::array<std::size_t, 3> kSegments{kLargestSegment, 32768, 16384};

/// Every way, with every segment size that is worth a thought.
const std::vector<Way>& all_ways() {
  static const std::vector<Way> ways = [] {
    std::vector<Way> all;
    for (const std::size_t segment : kSegments) {
      for (const Algorithm flat : kFlat) all.push_back({flat, Algorithm::direct, false, segment});
      all.push_back({Algorithm::direct, Algorithm::direct, true, segment});
      for (const Algorithm flat : kFlat) {
        all.push_back({Algorithm::hierarchical, flat, false, segment});
      }
    }
    return all;
  }();
  return ways;
}

/// Whether a way gives what a call asks for.
bool fits(const Way& way, const Question& question) {
  // In an exchange equal sums are cast everywhere, by random words that differ. And who names an
  // algorithm gets its messages, and its way to fail.
  if (way.exchange &&
      (question.rounding != Rounding::nearest_even || question.algorithm != Algorithm::automatic)) {
    return false;
  }
  // A residual is fed by the one cast of a rank's part to the wire format; emulated nodes are a
  // host already.
  const bool by_hosts = way.algorithm == Algorithm::hierarchical;
  const bool casts_otherwise = way.exchange || by_hosts;
  if (question.algorithm == Algorithm::automatic && casts_otherwise && !question.only_summed) {
    return false;
  }
  if (question.algorithm == Algorithm::automatic && by_hosts && !question.inner_fits) return false;
  if (question.algorithm != Algorithm::automatic && question.algorithm != way.algorithm) {
    return false;
  }
  return !by_hosts || question.across == Algorithm::automatic || question.across == way.across;
}

std::string cause_of(NoNative no_native) {
  switch (no_native) {
    case NoNative::more_than_a_sum:
      return "the call is more than a plain sum by 'wide'";
    case NoNative::empty:
      return "there is nothing to sum";
    case NoNative::check:
      return "the group was made with check";
    case NoNative::transport:
      return "the transport is not MPI";
    case NoNative::thread_level:
      return "MPI was initialised with MPI_THREAD_SERIALIZED, where a thread that waits keeps "
             "others out";
    case NoNative::type:
      return "MPI has no such reduction that gives every rank the same bits";
    case NoNative::table:
      return "the table has no times of it";
  }
  return {};
}

/// Why FP32 goes by the library itself; made once, because a plan's reason is kept.
const char* reason_without_native(NoNative no_native, bool declined) {
  constexpr std::size_t kCauses = static_cast<std::size_t>(NoNative::table) + 1;
  static const auto reasons = [] {
    std::array<std::array<std::string, 2>, kCauses> made;
    for (std::size_t i = 0; i < kCauses; ++i) {
      const std::string why =
          "the network's own is not taken: " + cause_of(static_cast<NoNative>(i));
      made[i] = {why, "compression does not pay, and " + why};
    }
    return made;
  }();
  return reasons[static_cast<std::size_t>(no_native)][declined ? 1 : 0].c_str();
}

struct Choice {
  Way way;
  double seconds = Decision::kNone;
};

class Decider {
 public:
  Decider(const Table& table, const Place& place, const Question& question)
      : table_(table), place_(place), question_(question), forecast_(table, place) {}

  Decision decide() {
    const bool free = question_.algorithm == Algorithm::automatic && !place_.in_one_process();
    if (question_.algorithm == Algorithm::automatic && follow_rule()) return decision_;
    const Choice asked = best(question_.wire);
    decision_.asked = asked.seconds;
    if (!free) {
      take(asked.way, question_.algorithm == Algorithm::automatic ? "ranks are in one process"
                                                                  : "it was asked for by name");
      return decision_;
    }
    choose(asked);
    return decision_;
  }

 private:
  bool native_possible() const {
    return question_.native_calls > 0 && !place_.in_one_process() && forecast_.knows_native();
  }

  void take(const Way& way, const char* reason) {
    decision_.plan = {.algorithm = way.algorithm,
                      .across = way.across,
                      .segment_bytes = way.segment_bytes,
                      .exchange = way.exchange,
                      .compressed = decision_.plan.compressed,
                      .reason = reason};
  }
  void take_native(const char* reason) {
    decision_.plan.algorithm = Algorithm::native;
    decision_.plan.reason = reason;
  }
  /// Whether there is something to decline, and it may be.
  bool declinable() const {
    return question_.may_decline && !question_.wire.is_fp32() && question_.bytes > 0;
  }
  void decline() { decision_.plan.compressed = !declinable(); }

  /// Whether a rule of the table holds for this call.
  bool follow_rule() {
    const double bytes = question_.bytes + question_.plain_bytes;
    for (const Rule& rule : forecast_.profile().rules) {
      const bool in_range = rule.min_bytes <= bytes && bytes <= rule.max_bytes;
      if (!in_range || (rule.wire && *rule.wire != question_.wire)) continue;
      constexpr const char* kReason = "a rule of the table says so";
      if (rule.native && native_possible()) {
        decline();
        take_native(kReason);
        return true;
      }
      if (!rule.native && fits(rule.way, question_)) {
        take(rule.way, kReason);
        return true;
      }
    }
    return false;
  }

  /// Whether hosts have several ranks, and about as many each: hierarchical sends all through as
  /// many ranks of every host as the smallest has.
  bool has_levels() const {
    return place_.hosts > 1 && place_.ranks_per_host > 1 &&
           2 * place_.ranks_per_host * place_.hosts > place_.ranks;
  }

  /// Hierarchical pays only where there are two levels, and direct takes memory for every peer;
  /// asked for by name they are taken anywhere.
  bool sensible(const Way& way) const {
    const bool by_hosts = way.algorithm == Algorithm::hierarchical;
    const bool named = question_.algorithm == way.algorithm;
    if (by_hosts && !named && !has_levels()) return false;
    const bool direct = (by_hosts ? way.across : way.algorithm) == Algorithm::direct;
    const bool direct_named = by_hosts ? question_.across == Algorithm::direct : named;
    return !direct || direct_named || (by_hosts ? place_.hosts : place_.ranks) <= kMostDirectRanks;
  }

  /// What was measured, where that was here; elsewhere all that there is.
  std::vector<Way> candidates() const {
    std::vector<Way> ways;
    const auto add = [&](const Way& way) {
      const bool known = std::ranges::find(ways, way) != ways.end();
      if (!known && fits(way, question_) && sensible(way)) ways.push_back(way);
    };
    for (const Measured& measured : forecast_.profile().own) add(measured.way);
    if (!ways.empty() && forecast_.was_here()) return ways;
    for (const Way& way : all_ways()) add(way);
    return ways;
  }

  /// The fastest of the library's own; of nearly equal ones the first.
  Choice best(Format wire) const {
    constexpr double kBetter = 0.99;
    Choice best;
    for (const Way& way : candidates()) {
      const double seconds = forecast_.own(way, question_, wire);
      if (seconds < kBetter * best.seconds) best = {way, seconds};
    }
    return best;
  }

  bool pays(double own, double other) const { return own <= (1 - table_.margin) * other; }

  void choose(const Choice& asked) {
    const bool compresses = !question_.wire.is_fp32() && question_.bytes > 0;
    const Choice plain = declinable() ? best(Format()) : asked;
    if (declinable()) decision_.plain = plain.seconds;
    if (native_possible()) decision_.native = forecast_.native(question_);
    if (compresses &&
        (!declinable() || pays(asked.seconds, std::min(plain.seconds, decision_.native)))) {
      take(asked.way, declinable() ? "compression pays" : "what is asked for always compresses");
      return;
    }
    decline();
    if (native_possible()) {
      choose_plain(plain, declinable());
    } else {
      take(plain.way, without_native(declinable()));
    }
  }

  const char* without_native(bool declined) const {
    const bool unknown = question_.native_calls > 0;  // to the table
    return reason_without_native(unknown ? NoNative::table : question_.no_native, declined);
  }

  void choose_plain(const Choice& plain, bool declined) {
    const double native = decision_.native;
    const bool nearly = plain.way.exchange && plain.seconds <= native + kNearly;
    if (nearly || pays(plain.seconds, native)) {
      take(plain.way, declined ? "compression does not pay, and the library is as fast in FP32"
                               : "the library is as fast as the network's own");
    } else {
      take_native(declined ? "compression does not pay, and the network's own is faster"
                           : "the network's own is faster");
    }
  }

  const Table& table_;
  const Place& place_;
  const Question& question_;
  Forecast forecast_;
  Decision decision_;
};

}  // namespace

Decision decide(const Table& table, const Place& place, const Question& question) {
  return Decider(table, place, question).decide();
}

}  // namespace cpdcomm::collective::tuning
