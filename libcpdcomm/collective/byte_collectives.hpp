#pragma once

#include <chrono>
#include <cstddef>
#include <span>

#include "collective/session.hpp"

namespace cpdcomm::collective {

// Communicator's collectives of bytes as they are. A timeout of 0 is the session's own.

Report broadcast(Session& session, std::span<std::byte> bytes, int root,
                 std::chrono::milliseconds timeout);
Report allgather(Session& session, std::span<const std::byte> mine, std::span<std::byte> all,
                 std::chrono::milliseconds timeout);
Report gather(Session& session, std::span<const std::byte> mine, std::span<std::byte> all, int root,
              std::chrono::milliseconds timeout);
Report scatter(Session& session, std::span<const std::byte> all, std::span<std::byte> mine,
               int root, std::chrono::milliseconds timeout);
Report alltoall(Session& session, std::span<const std::byte> to_all, std::span<std::byte> from_all,
                std::chrono::milliseconds timeout);
Report alltoall(Session& session, std::span<const std::byte> to_all,
                std::span<const std::size_t> to_sizes, std::span<std::byte> from_all,
                std::span<const std::size_t> from_sizes, std::chrono::milliseconds timeout);
Report barrier(Session& session, std::chrono::milliseconds timeout);

}  // namespace cpdcomm::collective
