#pragma once

#include <chrono>
#include <span>

#include "collective/session.hpp"
#include "cpdcomm/communicator.hpp"

namespace cpdcomm::collective {

/// Communicator::reduce.
Report reduce(Session& session, std::span<const Tensor> tensors, int root, ReduceOp op,
              std::chrono::milliseconds timeout);

/// The reduce-scatter of what no wire format carries: joined in rank order, each in its own type.
/// @param parts  values of every rank's share, one after the other
void plain_reduce_scatter(Session& session, Run& run, const std::byte* parts, const Tensor& share,
                          ReduceOp op);

}  // namespace cpdcomm::collective
