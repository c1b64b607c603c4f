#include "tune/measurement.hpp"

#include <mpi.h>

#include <algorithm>
#include <cmath>

#include "allreduce/progress.hpp"
#include "common/statistics.hpp"

namespace cpdcomm::perf::tune {
namespace {

constexpr int kFewestRounds = 3;

int rank_in_world() {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank;
}

/// Rank 0's clock decides for all.
bool is_over(double until) {
  int over = MPI_Wtime() > until ? 1 : 0;
  MPI_Bcast(&over, 1, MPI_INT, 0, MPI_COMM_WORLD);
  return over != 0;
}

double median_over_ranks(std::vector<double>& times) {
  int ranks = 1;
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  MPI_Allreduce(MPI_IN_PLACE, times.data(), static_cast<int>(times.size()), MPI_DOUBLE, MPI_SUM,
                MPI_COMM_WORLD);
  for (double& time : times) time /= ranks;
  std::ranges::sort(times);
  // Whole nanoseconds: digits behind them are noise that makes the file unreadable.
  return std::max(std::round(median_of_sorted(times) * 1e9), 1.0) / 1e9;
}

class Rounds {
 public:
  Rounds(const Options& options, const std::vector<Contender>& contenders)
      : options_(options),
        contenders_(contenders),
        caller_(options.max_bytes),
        progress_(options.sizes(), rank_in_world() == 0) {}

  std::vector<double> at(std::size_t size, double until) {
    std::vector<std::vector<double>> times(contenders_.size());
    for (int round = -1; round < options_.rounds; ++round) {
      if (round >= kFewestRounds && is_over(until)) break;
      for (std::size_t i = 0; i < contenders_.size(); ++i) {
        if (!contenders_[i].is_worth(size)) continue;
        progress_.show(size, contenders_[i].name(), round, options_.rounds);
        const double seconds = caller_.time(contenders_[i], size);
        if (round >= 0) times[i].push_back(seconds);
      }
    }
    progress_.done(size);
    progress_.clear();
    std::vector<double> medians;
    for (auto& own : times) medians.push_back(own.empty() ? 0 : median_over_ranks(own));
    return medians;
  }

 private:
  const Options& options_;
  const std::vector<Contender>& contenders_;
  Caller caller_;
  Progress progress_;
};

}  // namespace

std::vector<collective::tuning::Curve> measure(const Options& options,
                                               const std::vector<Contender>& contenders) {
  const std::vector<std::size_t> sizes = options.sizes();
  std::vector<collective::tuning::Curve> curves(contenders.size());
  Rounds rounds(options, contenders);
  const double begin = MPI_Wtime();
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    // What small sizes do not use is left for large ones.
    const double now = MPI_Wtime();
    const double left = std::max(0.0, begin + options.time_limit - now);
    const double until = now + left / static_cast<double>(sizes.size() - i);
    const std::vector<double> medians = rounds.at(sizes[i], until);
    for (std::size_t c = 0; c < contenders.size(); ++c) {
      if (medians[c] > 0) curves[c].push_back({static_cast<double>(sizes[i]), medians[c]});
    }
  }
  return curves;
}

}  // namespace cpdcomm::perf::tune
