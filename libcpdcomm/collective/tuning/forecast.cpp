#include "collective/tuning/forecast.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <vector>

namespace cpdcomm::collective::tuning {
namespace {

/// How far two numbers above 0 are apart, as a factor.
double apart(double a, double b) { return std::max(a / b, b / a); }

bool is_of(const Profile& profile, const Place& place, bool any_transport) {
  const bool fits = profile.transport == place.transport ||
                    (profile.transport == "any" && place.transport != transport::kThreads);
  return (any_transport || fits) && (profile.hosts > 1) == (place.hosts > 1);
}

const Profile* nearest_of(const Table& table, const Place& place, bool any_transport) {
  const Profile* nearest = nullptr;
  for (const Profile& profile : table.profiles) {
    if (!is_of(profile, place, any_transport)) continue;
    const auto distance = [&](const Profile& p) {
      return apart(p.ranks, place.ranks) * apart(p.hosts, place.hosts);
    };
    if (nearest == nullptr || distance(profile) < distance(*nearest)) nearest = &profile;
  }
  return nearest;
}

schedule::Shape shape_of(const Way& way) {
  if (way.exchange) return schedule::Shape::exchange;
  switch (way.algorithm == Algorithm::hierarchical ? way.across : way.algorithm) {
    case Algorithm::ring:
      return schedule::Shape::ring;
    case Algorithm::tree:
      return schedule::Shape::tree;
    case Algorithm::halving_doubling:
      return schedule::Shape::halving_doubling;
    default:
      return schedule::Shape::direct;
  }
}

bool differ_in_segment(Way a, const Way& b) {
  a.segment_bytes = b.segment_bytes;
  return a == b;
}

double bits_of(Format wire) { return info(wire).bits_with_scales; }

}  // namespace

const Profile& profile_for(const Table& table, const Place& place) {
  for (const bool any_transport : {false, true}) {
    for (const Table* from : {&table, &builtin_table()}) {
      const Profile* const found = nearest_of(*from, place, any_transport);
      if (found != nullptr) return *found;
    }
  }
  return builtin_table().profiles.front();
}

Forecast::Forecast(const Table& table, const Place& place)
    : table_(table), place_(place), profile_(profile_for(table, place)) {
  for (const Measured& measured : profile_.own) bits_.push_back(bits_of(measured.wire));
}

bool Forecast::was_here() const {
  return is_of(profile_, place_, false) && profile_.hosts == place_.hosts &&
         profile_.ranks == place_.ranks;
}

/// A sum of vectors of one format.
struct Forecast::Sum {
  double bytes;
  Format wire;
  Format inner;
  Accumulate accumulate;
  bool scaled;
};

schedule::CodecRates Forecast::rates_of(Format wire) const {
  for (const Codec& codec : table_.codecs) {
    if (codec.wire == wire) return codec.rates;
  }
  return schedule::builtin_codec_rates(wire);
}

schedule::Coding Forecast::coding_of(Format wire, Accumulate accumulate, int ranks) const {
  const double bits = bits_of(wire);
  schedule::Coding coding{{bits, bits, bits}, rates_of(wire)};
  // The compensation travels beside the sum; sums of integers grow.
  if (accumulate == Accumulate::kahan) coding.bits.partial = 2 * bits;
  if (accumulate == Accumulate::exact || accumulate == Accumulate::majority) {
    const double grown = bits + std::bit_width(static_cast<unsigned>(ranks - 1));
    coding.bits = {bits, grown, accumulate == Accumulate::exact ? grown : 2};
  }
  return coding;
}

double Forecast::model(const Way& way, const Sum& sum, int hosts, int ranks) const {
  const schedule::Task task{
      .shape = shape_of(way),
      .hierarchical = way.algorithm == Algorithm::hierarchical,
      .hosts = hosts,
      .ranks_per_host = (ranks + hosts - 1) / hosts,
      .bytes = sum.bytes,
      .coding = coding_of(sum.wire, sum.accumulate, ranks),
      .inside = coding_of(sum.inner, sum.accumulate, ranks),
      .segment_bytes = static_cast<double>(way.segment_bytes),
      .phases_before = sum.scaled ? 1 : 0,
  };
  return profile_.call_seconds + schedule::predict(profile_.network, task).seconds;
}

/// The measurement of a way whose format has the nearest number of bits; what is compressed is held
/// against what was. Of a way that was not measured, that of another: the model is as far off.
const Measured* Forecast::nearest(const Way& way, Format wire) const {
  constexpr double kOtherKind = 1e3;
  constexpr double kOtherSegment = 1e6;
  constexpr double kOtherWay = 1e9;
  const double bits = bits_of(wire);
  const Measured* nearest = nullptr;
  double least = std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < bits_.size(); ++i) {
    const Measured& measured = profile_.own[i];
    double distance = apart(bits_[i], bits);
    if (measured.wire.is_fp32() != wire.is_fp32()) distance *= kOtherKind;
    if (measured.way != way) {
      distance *= differ_in_segment(measured.way, way) ? kOtherSegment : kOtherWay;
    }
    if (distance < least) {
      nearest = &measured;
      least = distance;
    }
  }
  return nearest;
}

double Forecast::sum(const Way& way, const Sum& sum) const {
  const double here = model(way, sum, place_.hosts, place_.ranks);
  const Measured* const measured = nearest(way, sum.wire);
  if (measured == nullptr) return here;
  const Format wire = measured->wire;
  const Sum then{sum.bytes, wire, Format(), Accumulate::wide, wire.is_float() && !wire.is_fp32()};
  const double predicted = model(measured->way, then, profile_.hosts, profile_.ranks);
  return here * (at(measured->times, sum.bytes) / predicted);
}

double Forecast::own(const Way& way, const Question& question, Format wire) const {
  double seconds = 0;
  const bool asked = wire == question.wire;
  if (question.bytes > 0 || question.plain_bytes == 0) {
    seconds += sum(way, {question.bytes, wire, asked ? question.inner : Format(),
                         question.accumulate, asked && question.scaled});
  }
  if (question.plain_bytes > 0) {
    seconds += sum(way, {question.plain_bytes, Format(), Format(), Accumulate::wide, false});
  }
  return seconds;
}

/// The schedules of the literature, of which a network's own all-reduce takes one.
double Forecast::best_known(double bytes, int hosts, int ranks) const {
  const Sum sum{bytes, Format(), Format(), Accumulate::wide, false};
  double best = std::numeric_limits<double>::infinity();
  for (const Algorithm flat : {Algorithm::ring, Algorithm::tree, Algorithm::halving_doubling}) {
    best = std::min(best, model({.algorithm = flat}, sum, hosts, ranks));
    if (hosts == 1 || ranks < 2 * hosts) continue;
    const Way by_hosts{.algorithm = Algorithm::hierarchical, .across = flat};
    best = std::min(best, model(by_hosts, sum, hosts, ranks));
  }
  return best;
}

double Forecast::native(const Question& question) const {
  const double bytes = question.bytes + question.plain_bytes;
  const double of_each = bytes / std::max(1u, question.native_calls);
  // What a good all-reduce takes here, relative to the place of the measurement.
  const double here = best_known(of_each, place_.hosts, place_.ranks);
  const double there = best_known(of_each, profile_.hosts, profile_.ranks);
  return question.native_calls * at(profile_.native, of_each) * (here / there) +
         question.bytes / rates_of(Format()).scan;
}

}  // namespace cpdcomm::collective::tuning
