#include "connect.hpp"

#include <cstring>
#include <optional>
#include <span>
#include <vector>

#include "cpdcomm/bootstrap.hpp"
#include "cpdcomm/threads.hpp"
#include "cpdcomm/world.hpp"
#include "store_bootstrap.hpp"

namespace cpdcomm::torch_adapter {
namespace {

CommunicatorOptions options_of(const Origin& origin) {
  // MPI's own all-reduce would wait for ever for a rank that is wrong or gone.
  return {.timeout = origin.timeout, .check = true};
}

/// This process among all that MPI connects.
/// @throws Error unsupported where they are too few
int mpi_rank(const World& world, int size) {
  if (world.size() >= size) return world.rank();
  throw Error(ErrorCode::unsupported,
              "MPI connects " + std::to_string(world.size()) + " processes and the group has " +
                  std::to_string(size) +
                  " ranks: start them with mpirun, or srun --mpi=pmix, or ask for "
                  "CPDCOMM_TRANSPORT=ucx");
}

Communicator connect_over_mpi(StoreBootstrap& bootstrap, int tag, const Origin& origin) {
  std::optional<World> world;
  int mine = 0;
  try {
    world = World::load("mpi");
    mine = mpi_rank(*world, bootstrap.size());
  } catch (const Error& error) {
    bootstrap.refuse(error.what());
    throw;
  }
  std::vector<int> ranks;
  for (const auto& entry : bootstrap.allgather(std::as_bytes(std::span(&mine, 1)))) {
    int rank = -1;
    if (entry.size() == sizeof rank) std::memcpy(&rank, entry.data(), sizeof rank);
    ranks.push_back(rank);
  }
  return world->connect(ranks, tag, options_of(origin));
}

/// Every rank decides by itself which network it takes; they must be the same.
void check_network(StoreBootstrap& bootstrap, const std::string& own) {
  const auto all = bootstrap.allgather(std::as_bytes(std::span(own)));
  for (std::size_t rank = 0; rank < all.size(); ++rank) {
    const std::string other(reinterpret_cast<const char*>(all[rank].data()), all[rank].size());
    if (other == own) continue;
    throw Error(ErrorCode::mismatch, "rank " + std::to_string(rank) +
                                         " of the group takes the transport '" + other +
                                         "', rank " + std::to_string(bootstrap.rank()) + " '" +
                                         own + "': set CPDCOMM_TRANSPORT alike on all ranks");
  }
}

}  // namespace

void refuse_group(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size,
                  const std::string& reason) {
  StoreBootstrap(store, rank, size, std::chrono::milliseconds(0)).refuse(reason);
}

Communicator connect(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size, int tag,
                     const Origin& origin) {
  if (size == 1) return std::move(make_thread_communicators(1, options_of(origin)).front());
  StoreBootstrap bootstrap(store, rank, size, origin.timeout);
  try {
    require_network(origin.network);
  } catch (const Error& error) {
    // The others wait for this rank's entry: they are told instead of left alone.
    bootstrap.refuse(error.what());
    throw;
  }
  check_network(bootstrap, origin.network);
  if (origin.network == "mpi") return connect_over_mpi(bootstrap, tag, origin);
  try {
    return make_communicator(origin.network, bootstrap, options_of(origin));
  } catch (const Error& error) {
    if (error.code() == ErrorCode::unsupported) bootstrap.refuse(error.what());
    throw;
  }
}

}  // namespace cpdcomm::torch_adapter
