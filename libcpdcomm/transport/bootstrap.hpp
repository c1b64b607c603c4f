#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace cpdcomm::transport {

/// How ranks that cannot talk yet find each other: what each has to say, to all. Slow, used while a
/// communicator is made, and by one thread.
class Bootstrap {
 public:
  virtual ~Bootstrap() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// Collects the bytes of every rank, in rank order; every rank calls, as often as the others.
  /// @param mine  of any length, which may differ between ranks
  /// @throws Error peer_failed, timeout
  virtual std::vector<std::vector<std::byte>> allgather(std::span<const std::byte> mine) = 0;
};

}  // namespace cpdcomm::transport
