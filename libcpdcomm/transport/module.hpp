#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cpdcomm/bootstrap.hpp"
#include "cpdcomm/communicator.hpp"
#include "transport/transport.hpp"

namespace cpdcomm::transport {

/// A network that is loaded when asked for, so that a machine without it still has the rest.
class Module {
 public:
  virtual ~Module() = default;

  /// This process among all that the launcher started.
  virtual int world_rank() const = 0;
  virtual int world_size() const = 0;

  /// Collects the bytes of all of them, in their order; all call.
  virtual std::vector<std::vector<std::byte>> allgather(std::span<const std::byte> mine) = 0;

  /// Connects some of the world's ranks; only they call, all with the same list and tag.
  /// @param ranks  in the order of the new group
  /// @param tag    tells groups apart that are made at the same time
  virtual std::unique_ptr<Transport> open(std::span<const int> ranks, int tag,
                                          const CommunicatorOptions& options) = 0;

  /// Ends the network at the end of the process, unless a transport was abandoned.
  /// @param clean  false when this process ends because of an error: then peers are not waited for
  virtual void shutdown(bool clean) = 0;
};

/// The C function that a module's library exports, if its launcher knows the ranks.
using LoadModule = Module*();
inline constexpr const char* kLoadModule = "cpdcomm_transport_module";

/// The C function that it exports, if a bootstrap can tell it of them: a transport, the caller's.
using ConnectRanks = Transport*(Bootstrap&, const CommunicatorOptions&);
inline constexpr const char* kConnectRanks = "cpdcomm_transport_connect";

/// Loads the module `name` ("mpi") from beside the library, once.
/// @throws Error unsupported that says what is missing
Module& load_module(const std::string& name);

/// Connects the ranks of a bootstrap over the network `name` ("ucx"), loaded in the same way.
/// @throws Error unsupported that says what is missing; what the network and the bootstrap throw
std::unique_ptr<Transport> connect_ranks(const std::string& name, Bootstrap& bootstrap,
                                         const CommunicatorOptions& options);

/// Loads its library and calls nothing in it.
/// @throws Error unsupported that says what is missing
void require_module(const std::string& name);

/// Whether load_module(name) has succeeded in this process.
bool is_loaded(const std::string& name);

}  // namespace cpdcomm::transport
