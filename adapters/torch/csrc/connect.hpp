#pragma once

#include <torch/csrc/distributed/c10d/Store.hpp>

#include <chrono>
#include <string>

#include "cpdcomm/communicator.hpp"

namespace cpdcomm::torch_adapter {

/// How ranks of a group come together.
struct Origin {
  std::string network;  ///< "mpi" or "ucx"
  std::chrono::milliseconds timeout;
};

/// Connects the ranks of a new group over its store; all of them call.
/// @param tag  tells groups apart that are made at the same time, the same on all ranks
/// @throws Error unsupported that says what is missing, here or on another rank; timeout,
///         peer_failed
Communicator connect(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size, int tag,
                     const Origin& origin);

/// Instead of connect(), for a rank that cannot: the others, who call it, are told why.
void refuse_group(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
                  const std::string& reason);

}  // namespace cpdcomm::torch_adapter
