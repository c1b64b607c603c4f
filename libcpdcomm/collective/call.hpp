#pragma once

#include <span>

#include "collective/message.hpp"
#include "cpdcomm/communicator.hpp"

namespace cpdcomm::collective {

/// What the ranks must agree about: all that decides how many bytes travel and what they mean.
Call call_of(std::span<const Tensor> tensors, const AllreduceOptions& options);

}  // namespace cpdcomm::collective
