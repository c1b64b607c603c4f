#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "collective/tuning/table.hpp"
#include "cpdcomm/communicator.hpp"
#include "tune/options.hpp"

namespace cpdcomm::perf::tune {

/// One of what is measured.
struct Contender {
  bool native = false;  ///< MPI_Allreduce of FP32
  collective::tuning::Way way = {};
  Format wire = {};

  std::string name() const;
  /// Whether it could be anything at a size; other sizes are not measured.
  bool is_worth(std::size_t bytes) const;
};

/// @param levels  whether there are several hosts with several ranks
std::vector<Contender> contenders_of(const Options& options, bool levels);

/// Makes the calls of contenders, over communicators that are made once for each segment size.
class Caller {
 public:
  explicit Caller(std::size_t max_bytes);

  /// @return seconds on this rank
  double time(const Contender& contender, std::size_t bytes);

 private:
  Communicator& communicator_of(const Contender& contender);

  std::map<std::pair<std::size_t, bool>, Communicator> communicators_;
  std::vector<float> in_;
  std::vector<float> out_;
};

}  // namespace cpdcomm::perf::tune
