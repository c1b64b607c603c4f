#include "collective/tuning/table.hpp"

#include <algorithm>

namespace cpdcomm::collective::tuning {

double at(const Curve& curve, double bytes) {
  if (bytes <= curve.front().bytes) return curve.front().seconds;
  const Point& last = curve.back();
  if (bytes >= last.bytes) return last.seconds * (bytes / last.bytes);
  const auto after = std::upper_bound(curve.begin(), curve.end(), bytes,
                                      [](double b, const Point& point) { return b < point.bytes; });
  const Point& high = *after;
  const Point& low = *(after - 1);
  const double share = (bytes - low.bytes) / (high.bytes - low.bytes);
  return low.seconds + share * (high.seconds - low.seconds);
}

std::string to_string(const Way& way) {
  if (way.exchange) return "exchange";
  std::string name = cpdcomm::to_string(way.algorithm);
  if (way.algorithm == Algorithm::hierarchical) {
    name += '/';
    name += cpdcomm::to_string(way.across);
  }
  return name;
}

}  // namespace cpdcomm::collective::tuning
