#pragma once

#include <span>

#include "collective/session.hpp"
#include "cpdcomm/communicator.hpp"

namespace cpdcomm::collective {

// The two halves of an all-reduce, as Communicator offers them.

Report reduce_scatter(Session& session, const void* parts, DataType type, const Tensor& share,
                      std::span<const std::size_t> ends, const AllreduceOptions& options);
Report allgather(Session& session, const void* mine, const Tensor& all,
                 const AllreduceOptions& options);

}  // namespace cpdcomm::collective
