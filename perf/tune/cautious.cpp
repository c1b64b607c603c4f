#include "tune/cautious.hpp"

#include <algorithm>

namespace cpdcomm::perf::tune {
namespace {

using collective::tuning::Curve;
using collective::tuning::Measured;
using collective::tuning::Point;
using collective::tuning::Profile;

/// The points of both, ascending; of two of the same size what `choose` takes.
template <typename Choose>
Curve joined(const Curve& a, const Curve& b, Choose&& choose) {
  Curve all = a;
  for (const Point& point : b) {
    const auto same = std::ranges::find(all, point.bytes, &Point::bytes);
    if (same == all.end()) {
      all.push_back(point);
    } else {
      same->seconds = choose(same->seconds, point.seconds);
    }
  }
  std::ranges::sort(all, {}, &Point::bytes);
  return all;
}

}  // namespace

Profile cautious(const Profile& earlier, Profile later) {
  const auto shorter = [](double a, double b) { return std::min(a, b); };
  const auto longer = [](double a, double b) { return std::max(a, b); };
  later.native = joined(earlier.native, later.native, shorter);
  for (const Measured& before : earlier.own) {
    const auto same = std::ranges::find_if(later.own, [&](const Measured& now) {
      return now.way == before.way && now.wire == before.wire;
    });
    if (same == later.own.end()) {
      later.own.push_back(before);
    } else {
      same->times = joined(before.times, same->times, longer);
    }
  }
  later.rules = earlier.rules;
  return later;
}

}  // namespace cpdcomm::perf::tune
