#pragma once

#include <mpi.h>

#include <cstdint>
#include <optional>
#include <string>

#include "allreduce/buffer.hpp"
#include "allreduce/contender.hpp"
#include "allreduce/inputs.hpp"

namespace cpdcomm::perf {

/// What a sum is held against, beside the sums of the other ranks.
enum class Against {
  bits,   ///< what a serial sum in the same order gives
  bound,  ///< the sum in double precision, give or take what rounding can explain
  ranks,  ///< nothing else
};
std::string to_string(Against against);

/// How right a sum is; the same on all ranks.
struct Verdict {
  Against against = Against::ranks;
  std::uint64_t wrong = 0;             ///< values
  std::optional<double> rel_rms = {};  ///< none where a value is not finite
  std::optional<double> max_error = {};
};

/// Checks sums. Each rank works out a slice of what is right, and all compare their slices.
class Checker {
 public:
  Checker(const Inputs& inputs, MPI_Comm ranks);

  /// Of a sum of the first `count` values; every rank calls.
  /// @param taken  the algorithm that summed
  Verdict check(const Contender& contender, Algorithm taken, const Buffer& sum, std::size_t count);

 private:
  const Inputs& inputs_;
  MPI_Comm comm_;
  int rank_ = 0;
  int ranks_ = 0;
};

}  // namespace cpdcomm::perf
