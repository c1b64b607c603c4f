#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "cpdcomm/communicator.hpp"
#include "transport/transport.hpp"

namespace cpdcomm::collective {

/// How many all-reduces of the network make a call: tensors of one type that follow each other are
/// summed in one. It does not depend on where they lie, which may differ between ranks.
/// @return 0 where the network cannot, or where its answer could differ between ranks: minimum and
///         maximum of floats, whose zeros and NaNs depend on the order
std::uint32_t native_calls(std::span<const Tensor> tensors, const AllreduceOptions& options,
                           const transport::Transport& transport);

/// Does calls by the network's own all-reduces.
class Native {
 public:
  /// One after the other; `average` divides afterwards. Tensors that do not lie side by side are
  /// copied together. Results are not searched for what is not finite: that takes a tenth of the
  /// time of a sum inside a host.
  /// @param report  its `logical_bytes` are filled in; what the network sends nobody knows
  /// @throws Error peer_failed when the network reports a failure
  void allreduce(transport::Transport& transport, std::span<const Tensor> tensors,
                 const AllreduceOptions& options, Report& report);

 private:
  using Tensors = std::span<const Tensor>;
  void sum_together(transport::Transport& transport, Tensors tensors, ReduceOp op);

  std::vector<std::byte> together_;  // kept from call to call
};

}  // namespace cpdcomm::collective
