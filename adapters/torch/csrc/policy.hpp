#pragma once

#include <functional>

#include "cpdcomm/options.hpp"

namespace cpdcomm::torch_adapter {

/// What of torch.distributed's own calls is summed in low precision, and how.
struct Policy {
  AllreduceOptions options;
  Selection selection;
};

using Change = std::function<void(Policy&)>;

/// A change that holds for all groups and threads of this process, over those before it.
/// @return  what to take it back with
int add_change(Change change);
void take_back(int change);

/// A group's policy with the changes in force.
Policy in_force(Policy policy);

/// What a call asks for of a tensor that a wire format can carry.
/// @param wanted  whether calls of its kind may travel in a wire format at all
/// @param bytes   of the tensor: of reduce-scatter and all-gather one rank's share of it, so that a
///                scalar of each rank stays exact on any number of ranks
AllreduceOptions options_for(const Policy& policy, bool wanted, ReduceOp op, std::size_t bytes);

/// What it asks for of all other tensors: the same way, and nothing lost on it.
AllreduceOptions exact_options(const Policy& policy, ReduceOp op);

/// Whether values lose nothing on their way, between hosts and inside one.
bool is_lossless(const AllreduceOptions& options);

}  // namespace cpdcomm::torch_adapter
