#include "allreduce/bench.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <random>
#include <utility>

#include "common/statistics.hpp"

namespace cpdcomm::perf {
namespace {

constexpr int kFewestIterations = 3;

double quantile(std::vector<double> values, double share) {
  std::ranges::sort(values);
  const auto rank = static_cast<std::size_t>(std::ceil(share * static_cast<double>(values.size())));
  return values[std::max<std::size_t>(rank, 1) - 1];
}

double median_of(std::vector<double> values) {
  std::ranges::sort(values);
  return median_of_sorted(values);
}

std::optional<double> median_if_any(const std::vector<double>& values) {
  if (values.empty()) return std::nullopt;
  return median_of(values);
}

/// Who takes part with all its bits sets the mark.
void set_gains(std::vector<Result>& results) {
  std::optional<double> best;
  for (const Result& result : results) {
    if (!result.contender.loses_nothing()) continue;
    best = best ? std::min(*best, result.median()) : result.median();
  }
  if (!best) return;
  for (Result& result : results) result.gain = *best / result.median();
}

/// The order of the contenders, another one in each round and the same on all ranks: nobody is
/// always first, or always behind the same neighbour's mess in the caches.
class Turns {
 public:
  explicit Turns(std::size_t contenders) : order_(contenders) {
    std::iota(order_.begin(), order_.end(), std::size_t{0});
  }

  /// Fisher and Yates's shuffle; std::shuffle need not be the same everywhere.
  const std::vector<std::size_t>& next() {
    for (std::size_t i = order_.size(); i > 1; --i) std::swap(order_[i - 1], order_[random_() % i]);
    return order_;
  }

 private:
  std::vector<std::size_t> order_;
  std::mt19937 random_;  // with its standard seed
};

/// What a sum is held against: `automatic` may decline to compress, or leave it to MPI.
Contender as_done(Contender contender, const Report& report) {
  if (!report.compressed) contender.options.wire = Format();
  contender.is_mpi = contender.is_mpi || report.algorithm == Algorithm::native;
  return contender;
}

}  // namespace

double Result::median() const { return median_of(times); }
std::optional<double> Result::median_codec() const { return median_if_any(codec); }
std::optional<double> Result::median_wait() const { return median_if_any(wait); }
double Result::smallest() const { return std::ranges::min(times); }
double Result::p99() const { return quantile(times, 0.99); }
double Result::algbw() const { return static_cast<double>(size) / 1e3 / median(); }
double Result::busbw() const { return algbw() * 2 * (ranks - 1) / ranks; }
std::optional<double> Result::wirebw() const {
  if (!wire) return std::nullopt;
  return wire->mean / 1e3 / median();
}

Bench::Bench(const Options& options, const Inputs& inputs, Communicator& library, MPI_Comm ranks,
             const std::vector<Contender>& contenders, Progress& progress, const Spoiler& spoiler)
    : options_(options),
      inputs_(inputs),
      library_(library),
      comm_(ranks),
      contenders_(contenders),
      progress_(progress),
      spoiler_(spoiler),
      rank_(library.rank()),
      ranks_(library.size()),
      in_(options.type, options.max_bytes / size_of(options.type)),
      out_(options.type, options.max_bytes / size_of(options.type)) {
  fill_inputs();
}

void Bench::fill_inputs() {
  std::vector<float> values(std::size_t{1} << 16);
  for (std::size_t first = 0; first < in_.count(); first += values.size()) {
    values.resize(std::min(values.size(), in_.count() - first));
    inputs_.fill(rank_, first, values);
    in_.store(first, values);
  }
}

/// In place the sum of one call would be the input of the next.
void Bench::restore(std::size_t count) {
  if (options_.in_place) out_.copy(in_, count);
}

void Bench::call_mpi(const Contender& contender, std::size_t count) {
  const MPI_Datatype type = contender.type == DataType::fp64 ? MPI_DOUBLE : MPI_FLOAT;
  const void* const in = options_.in_place ? MPI_IN_PLACE : in_.data();
  MPI_Allreduce(in, out_.data(), static_cast<int>(count), type, MPI_SUM, comm_);
  if (contender.options.op != ReduceOp::average) return;
  // MPI has no average: who uses it divides.
  const auto divide = [&](auto* values) {
    for (std::size_t i = 0; i < count; ++i) values[i] /= static_cast<decltype(+*values)>(ranks_);
  };
  if (contender.type == DataType::fp64) {
    divide(static_cast<double*>(out_.data()));
  } else {
    divide(static_cast<float*>(out_.data()));
  }
}

/// One all-reduce; of the library what it reports.
Report Bench::call(Result& of) {
  if (of.contender.is_mpi) {
    call_mpi(of.contender, of.count);
    return {};
  }
  AllreduceOptions options = of.contender.options;
  options.step = step_++;
  const Tensor tensor{.data = out_.data(),
                      .count = of.count,
                      .type = of.contender.type,
                      .input = options_.in_place ? nullptr : in_.data(),
                      .memory = &of.memory};
  return library_.allreduce({&tensor, 1}, options);
}

void Bench::timed_call(Result& result, bool is_kept) {
  using Clock = std::chrono::steady_clock;
  restore(result.count);
  MPI_Barrier(comm_);
  const auto begin = Clock::now();
  const Report report = call(result);
  const auto end = Clock::now();
  if (!is_kept) return;
  result.times.push_back(std::chrono::duration<double, std::micro>(end - begin).count());
  if (result.contender.is_mpi) return;
  result.codec.push_back(report.codec_seconds * 1e6);
  result.wait.push_back(report.wait_seconds * 1e6);
}

/// Sums once, checks the sum, and notes what the library reports.
void Bench::check(Result& result) {
  // A call that writes nothing must not pass with the sum of the one before.
  out_.spoil(result.count);
  restore(result.count);
  const Report report = call(result);
  if (!result.contender.is_mpi) {
    result.taken = report.algorithm;
    result.compressed = report.compressed;
    double mean = static_cast<double>(report.wire_bytes);
    double largest = mean;
    MPI_Allreduce(MPI_IN_PLACE, &mean, 1, MPI_DOUBLE, MPI_SUM, comm_);
    MPI_Allreduce(MPI_IN_PLACE, &largest, 1, MPI_DOUBLE, MPI_MAX, comm_);
    result.wire = {mean / ranks_, largest};
  }
  if (options_.checks == 0) return;
  if (spoiler_) spoiler_(rank_, out_);
  const Verdict verdict =
      Checker(inputs_, comm_)
          .check(as_done(result.contender, report), result.taken.value_or(Algorithm::automatic),
                 out_, result.count);
  const std::uint64_t wrong_before = result.verdict ? result.verdict->wrong : 0;
  result.verdict = verdict;
  result.verdict->wrong += wrong_before;
}

/// Rank 0's clock decides for all.
bool Bench::time_is_over(double elapsed) const {
  if (options_.time_limit <= 0) return false;
  int over = elapsed > options_.time_limit ? 1 : 0;
  MPI_Bcast(&over, 1, MPI_INT, 0, comm_);
  return over != 0;
}

void Bench::time_in_turn(std::vector<Result>& results) {
  const double begin = MPI_Wtime();
  Turns turns(results.size());
  for (int round = -options_.warmups; round < options_.iterations; ++round) {
    if (round >= kFewestIterations && time_is_over(MPI_Wtime() - begin)) break;
    for (const std::size_t turn : turns.next()) {
      Result& result = results[turn];
      progress_.show(result.size, result.contender.name(), round, options_.iterations);
      timed_call(result, round >= 0);
    }
  }
}

/// Over the ranks, of each call.
void Bench::average(std::vector<double>& times) const {
  if (options_.average == Options::Average::rank_0) {
    MPI_Bcast(times.data(), static_cast<int>(times.size()), MPI_DOUBLE, 0, comm_);
    return;
  }
  const bool mean = options_.average == Options::Average::mean;
  const MPI_Op op = mean                                             ? MPI_SUM
                    : options_.average == Options::Average::smallest ? MPI_MIN
                                                                     : MPI_MAX;
  MPI_Allreduce(MPI_IN_PLACE, times.data(), static_cast<int>(times.size()), MPI_DOUBLE, op, comm_);
  if (!mean) return;
  for (double& time : times) time /= ranks_;
}

std::vector<Result> Bench::run(std::size_t size) {
  const std::size_t count = size / size_of(options_.type);
  std::vector<Result> results;
  for (const Contender& contender : contenders_) {
    results.push_back({.size = size,
                       .count = count,
                       .ranks = ranks_,
                       .in_place = options_.in_place,
                       .contender = contender});
    for (int i = 0; i < std::max(1, options_.checks); ++i) {
      progress_.show(size, contender.name(), -1, options_.iterations);
      check(results.back());
    }
  }
  time_in_turn(results);
  for (Result& result : results) {
    for (auto* times : {&result.times, &result.codec, &result.wait}) average(*times);
  }
  set_gains(results);
  progress_.done(size);
  return results;
}

}  // namespace cpdcomm::perf
