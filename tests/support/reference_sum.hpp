#pragma once

#include <cstddef>
#include <vector>

#include "cpdcomm/options.hpp"
#include "schedule/schedule.hpp"

// What an all-reduce must give, one value at a time, from the specification alone.
namespace cpdcomm::testing {

/// What the sum of a tensor depends on.
struct SumRules {
  Format wire = {};
  Accumulate accumulate = Accumulate::wide;
  Algorithm algorithm = Algorithm::direct;
  ReduceOp op = ReduceOp::sum;
  bool aps = true;
  std::size_t group = 0;  ///< values that share an exponent; 0: all

  AllreduceOptions options() const;
};

/// One rank's gradients: one vector per emulated node.
using Parts = std::vector<std::vector<float>>;

class ReferenceSum {
 public:
  /// @param by_rank    must outlive this object
  /// @param schedules  who sums what, by rank: of other algorithms than direct and ring
  /// @param scaled_by  whose values the exponents are of, where the parts are sums of them already;
  ///                   empty: the parts
  ReferenceSum(const std::vector<Parts>& by_rank, const SumRules& rules,
               std::vector<schedule::Schedule> schedules = {},
               const std::vector<Parts>& scaled_by = {});

  /// The result of value i.
  /// @param chunk  of a ring: the rank at which its sum starts
  float at(std::size_t i, int chunk) const;

 private:
  struct Partial {
    float sum = 0;
    float compensation = 0;
  };

  float cast(float x, int shift = 0) const;
  void add(Partial& to, float part) const;
  void join(Partial& to, Partial later) const;
  void enter(Partial& to, const Parts& parts, std::size_t i, int shift) const;
  Partial inside(const Parts& parts, std::size_t i, int shift) const;
  bool by_hops() const { return rules_.algorithm != Algorithm::direct; }
  Partial in_order(std::size_t i, int shift, std::size_t begin) const;
  Partial as_scheduled(std::size_t i, int shift, int chunk) const;
  Partial sum_at(const schedule::Step& step, std::size_t rank, std::size_t i, int shift) const;

  const std::vector<Parts>& by_rank_;
  SumRules rules_;
  bool scaled_;
  std::size_t group_;
  std::size_t world_ = 0;       // parts in all
  std::vector<float> largest_;  // by group; NaN where a part is not finite
  std::vector<schedule::Schedule> schedules_;
};

}  // namespace cpdcomm::testing
