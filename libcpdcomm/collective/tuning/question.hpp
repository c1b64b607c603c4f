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
  int ranks_per_host = 1;  ///< on the host with the fewest

  /// Ranks of one process, where no network is that could be slower or faster.
  bool in_one_process() const { return ranks == 1 || transport == transport::kThreads; }
};

/// Why the network's own all-reduce cannot make a call.
enum class NoNative : std::uint8_t {
  more_than_a_sum,  ///< by `wide`, of nothing but values
  empty,
  check,         ///< CommunicatorOptions::check
  transport,     ///< it is not MPI
  thread_level,  ///< MPI was initialised with MPI_THREAD_SERIALIZED
  type,          ///< or the operator: not in MPI, or not with the same bits on every rank
  table,         ///< which has no times of it
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
  NoNative no_native = NoNative::transport;  ///< where these are 0
  bool only_summed = true;                   ///< without residuals, emulated nodes and the like
  bool inner_fits = true;                    ///< hierarchical can have `inner` inside a host
  bool may_decline = false;                  ///< whether compression is only wanted where it pays

  friend bool operator==(const Question&, const Question&) = default;
};

/// @param native_allowed  false: the network's own all-reduce is never taken
Question question_of(std::span<const Tensor> tensors, const AllreduceOptions& options,
                     const transport::Transport& transport, bool native_allowed);

}  // namespace cpdcomm::collective::tuning
