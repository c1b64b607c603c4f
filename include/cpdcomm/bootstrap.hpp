#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "cpdcomm/communicator.hpp"
#include "cpdcomm/export.hpp"

namespace cpdcomm {

/// How ranks that cannot talk yet find each other: what each has to say, to all. Slow, used while a
/// communicator is made, and by one thread. Programs bring their own, over a store or a launcher.
class CPDCOMM_API Bootstrap {
 public:
  virtual ~Bootstrap() = default;

  virtual int rank() const = 0;
  virtual int size() const = 0;

  /// Collects the bytes of every rank, in rank order; every rank calls, as often as the others.
  /// @param mine  of any length, which may differ between ranks
  /// @throws Error peer_failed, timeout
  virtual std::vector<std::vector<std::byte>> allgather(std::span<const std::byte> mine) = 0;
};

/// Ranks that share a directory: each writes a file for each allgather and reads the others'.
class CPDCOMM_API FileBootstrap final : public Bootstrap {
 public:
  /// @param directory  exists, the same for all ranks; files stay in it, so each run needs an empty
  ///                   one or a `run` of its own
  /// @param rank       0 to size - 1
  /// @param timeout    of one allgather
  /// @param run        tells runs apart in one directory, such as the number that a launcher gives
  ///                   them: letters, digits, '-' and '_'
  /// @throws Error invalid_argument: no such directory, rank or run, or files of an earlier run
  FileBootstrap(std::filesystem::path directory, int rank, int size,
                std::chrono::milliseconds timeout = std::chrono::minutes(1),
                std::string run = "run");

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  /// @throws Error timeout that names the ranks that have not written, invalid_argument when this
  ///         rank's file is there already or cannot be written
  std::vector<std::vector<std::byte>> allgather(std::span<const std::byte> mine) override;

 private:
  std::filesystem::path file(int rank) const;
  void write(std::span<const std::byte> mine) const;

  std::filesystem::path directory_;
  int rank_;
  int size_;
  std::chrono::milliseconds timeout_;
  std::string run_;
  int round_ = 0;
};

/// A communicator over a network that is loaded when it is asked for, so that a machine without it
/// still has the rest of the library: "ucx", from beside the library. Collective over the
/// bootstrap's ranks; the bootstrap is used during this call only.
/// @throws Error unsupported that says what is missing, else as the network's own function
///         (cpdcomm/ucx.hpp) and the bootstrap
CPDCOMM_API Communicator make_communicator(const std::string& network, Bootstrap& bootstrap,
                                           const CommunicatorOptions& options = {});

/// Whether a network ("mpi", "ucx") can be had here is found out before anybody waits for it.
/// @throws Error unsupported that says what is missing
CPDCOMM_API void require_network(const std::string& network);

}  // namespace cpdcomm
