#pragma once

#include <span>

#include "collective/session.hpp"
#include "cpdcomm/communicator.hpp"

namespace cpdcomm::collective {

/// Communicator::allreduce: the exponents first where there are any, then the floats over their
/// wire formats, then what travels as it is.
Report allreduce(Session& session, std::span<const Tensor> tensors,
                 const AllreduceOptions& options);

}  // namespace cpdcomm::collective
