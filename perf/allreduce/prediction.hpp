#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "allreduce/sum_order.hpp"
#include "codec/codec.hpp"
#include "cpdcomm/communicator.hpp"

namespace cpdcomm::perf {

/// An all-reduce of one tensor, with nothing left for the library to choose.
struct Case {
  Format wire = {};
  Scaling scaling = {Scaling::Kind::none, 0};
  Accumulate accumulate = Accumulate::wide;
  Algorithm algorithm = Algorithm::direct;
  ReduceOp op = ReduceOp::sum;
  cpdcomm::Result result = cpdcomm::Result::full;  ///< of `exact`
  DataType type = DataType::fp32;
  int ranks = 1;
  std::size_t count = 0;
};

/// Whether a Prediction or an IntegerPrediction covers a call: sums and averages of fp32, fp16 and
/// bf16, without random casts (fp32 on the wire has none), nothing emulated; `hierarchical` only
/// where sums are integers, which no order changes.
bool can_predict(const AllreduceOptions& options, DataType type);

/// Whether sums are integers: IntegerPrediction is for them.
bool is_summed_in_integers(Accumulate accumulate);

/// The largest magnitudes that APS needs, one for each group of values that share an exponent;
/// `majority` needs that of the tensor, and `exact` none.
class LargestByGroup {
 public:
  explicit LargestByGroup(const Case& of);

  /// Takes in a part of one rank: values `first` and on. Any order, any cuts.
  void see(std::size_t first, std::span<const float> values);
  /// Of what was seen; Inf where any value is not finite, so that a maximum over the ranks keeps
  /// it. Empty where nothing is scaled.
  std::span<const float> all() const { return largest_; }

 private:
  std::size_t group_;
  std::size_t count_;
  std::vector<float> largest_;
};

/// What an all-reduce must give, bit for bit, any slice of it: by the schedules and the plain
/// casts, without what the library adds to be fast (its engine, transports, reductions and
/// vectors).
class Prediction {
 public:
  /// @param largest  over all ranks, as LargestByGroup has it
  /// @throws Error invalid_argument for another number of groups, or what can_predict() is not for
  Prediction(const Case& of, std::span<const float> largest);
  /// The same for schedules of one's own instead of those of the case's algorithm.
  /// @param by_rank  the schedule of every rank, in rank order
  Prediction(const Case& of, std::span<const float> largest,
             std::span<const schedule::Schedule> by_rank);

  /// Values at whose multiples a slice may begin.
  std::size_t alignment() const { return codec_.alignment(); }

  /// Predicts values first .. first + out.size() - 1. Of fp16 and bf16 the parts are given as FP32,
  /// and so is the result.
  /// @param parts  of each rank, the slice
  /// @throws Error invalid_argument for another number of parts, and for a slice that is not inside
  ///         the tensor or is cut elsewhere than at multiples of the alignment and at the end
  void predict(std::size_t first, std::span<const float* const> parts, std::span<float> out);

 private:
  struct Tile;
  struct PartialSum;

  void check_slice(std::size_t first, std::size_t ranks, std::size_t count) const;
  std::size_t end_of_tile(std::size_t first, std::size_t chunk) const;
  void predict_tile(const Sum& order, const Tile& tile, float* out);
  void sum_up(const Sum& order, const Tile& tile, PartialSum& total);
  void receive(const Sum& order, const Tile& tile, PartialSum& sum);
  const float* read_part(const Term& term, const Tile& tile);
  void add(PartialSum& to, const float* part, std::size_t count);
  void add_compensated(PartialSum& to, const float* part, std::size_t count);
  void join(PartialSum& to, const PartialSum& later, std::size_t count);
  void cast(std::vector<float>& values, std::size_t count) const;

  Case case_;
  bool scaled_;
  codec::Codec codec_;
  bool cast_own_parts_;
  std::size_t group_;                               // values that share a shift
  std::vector<int> shifts_;                         // by group
  std::vector<bool> poisoned_;                      // by group: some value is not finite
  std::vector<std::size_t> ends_;                   // of each chunk
  std::vector<std::shared_ptr<const Sum>> orders_;  // of each chunk

  // Scratch for one tile.
  std::vector<float> part_;
  std::vector<float> y_;
  std::vector<float> t_;
};

}  // namespace cpdcomm::perf
