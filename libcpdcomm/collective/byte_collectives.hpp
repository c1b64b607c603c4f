#pragma once

#include <cstddef>
#include <span>

#include "collective/session.hpp"

namespace cpdcomm::collective {

// Communicator's collectives of bytes as they are.

void broadcast(Session& session, std::span<std::byte> bytes, int root);
void allgather(Session& session, std::span<const std::byte> mine, std::span<std::byte> all);
void barrier(Session& session);

}  // namespace cpdcomm::collective
