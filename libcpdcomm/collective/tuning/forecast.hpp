#pragma once

#include <vector>

#include "collective/tuning/question.hpp"
#include "collective/tuning/table.hpp"

namespace cpdcomm::collective::tuning {

/// What is known of a place: the profile of the same transport and kind (one host or several) with
/// the nearest number of ranks, else of any transport; the built-in table's where a table has none
/// of that kind.
const Profile& profile_for(const Table& table, const Place& place);

/// Predicts times: those of the cost model, times what the measurements say of it where there are
/// any. At a place, size and format that was measured it is what was measured.
class Forecast {
 public:
  Forecast(const Table& table, const Place& place);

  const Profile& profile() const { return profile_; }
  /// Whether the profile is that of so many ranks on so many hosts, over the same network.
  bool was_here() const;

  /// Seconds of a call of the library's own, its float tensors in `wire`.
  double own(const Way& way, const Question& question, Format wire) const;

  bool knows_native() const { return !profile_.native.empty(); }
  /// Seconds of the network's own all-reduces, and of the pass over their sums behind them.
  double native(const Question& question) const;

 private:
  struct Sum;
  schedule::CodecRates rates_of(Format wire) const;
  schedule::Coding coding_of(Format wire, Accumulate accumulate, int ranks) const;
  double model(const Way& way, const Sum& sum, int hosts, int ranks) const;
  const Measured* nearest(const Way& way, Format wire) const;
  double sum(const Way& way, const Sum& sum) const;
  double best_known(double bytes, int hosts, int ranks) const;

  const Table& table_;
  const Place& place_;
  const Profile& profile_;
  std::vector<double> bits_;  // of each of profile_.own: looked at for every way
};

}  // namespace cpdcomm::collective::tuning
