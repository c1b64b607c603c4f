// Collectives that carry everything as it is, and messages between two ranks, between processes.
#include "support/collectives.hpp"
#include "mpi/world.hpp"

namespace cpdcomm::testing {
namespace {

TEST(MpiCollectives, AreRight) {
  Communicator world = make_world();
  for (const std::size_t count : {0u, 1u, 7u, 1000u, 70'000u}) check_collectives(world, count);
}

TEST(MpiCollectives, AreRightWithoutSharedMemory) {
  Communicator world = make_mpi_communicator(
      MPI_COMM_WORLD, {.timeout = std::chrono::seconds(60), .shared_memory = false, .check = true});
  for (const std::size_t count : {0u, 1u, 1000u, 70'000u}) check_collectives(world, count);
}

}  // namespace
}  // namespace cpdcomm::testing
