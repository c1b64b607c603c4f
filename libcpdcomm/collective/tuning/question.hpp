#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "cpdcomm/communicator.hpp"
#include "schedule/schedule.hpp"
#include "transport/transport.hpp"

namespace cpdcomm::collective::tuning {

/// Where a group of ranks is.
struct Place {
  std::string transport;
  int ranks = 1;
  int hosts = 1;
  int ranks_per_host = 1;  ///< on the fullest host

  /// Ranks of one process, where no network is that could be slower or faster.
  bool in_one_process() const { return ranks == 1 || transport == transport::kThreads; }
};

Place place_of(const transport::Transport& transport, const schedule::Hosts& hosts);

/// All of a call that a plan depends on.
struct Question {
  Algorithm algorithm = Algorithm::automatic;
  Algorithm across = Algorithm::automatic;
  Accumulate accumulate = Accumulate::wide;
  Rounding rounding = Rounding::nearest_even;
  bool scaled = false;             ///< exponents go ahead of the sum
  Format wire = {};                ///< of the largest tensor that is summed as floats
  Format inner = {};               ///< inside a host, under hierarchical
  double bytes = 0;                ///< of the tensors that are summed as floats, in FP32
  double plain_bytes = 0;          ///< of all others, in their own types
  std::uint32_t native_calls = 0;  ///< all-reduces of the network that make it; 0: it cannot
  bool only_summed = true;         ///< without residuals, emulated nodes and the like
  bool may_decline = false;        ///< whether compression is only wanted where it pays

  friend bool operator==(const Question&, const Question&) = default;
};

/// @param native_allowed  false: the network's own all-reduce is never taken
Question question_of(std::span<const Tensor> tensors, const AllreduceOptions& options,
                     const transport::Transport& transport, bool native_allowed);

}  // namespace cpdcomm::collective::tuning
