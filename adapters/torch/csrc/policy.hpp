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

}  // namespace cpdcomm::torch_adapter
