// Collectives that carry everything as it is, and messages between two ranks, between processes.
#include "support/collectives.hpp"
#include "mpi/world.hpp"
#include "support/in_a_fork.hpp"

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

/// However a fork ends, its parent's communicators go on, over shared memory and without.
TEST(MpiCollectives, GoOnAfterAForkHasEnded) {
  for (const bool shared : {true, false}) {
    Communicator world = make_mpi_communicator(
        MPI_COMM_WORLD,
        {.timeout = std::chrono::seconds(60), .shared_memory = shared, .check = true});
    check_collectives(world, 1000);
    const int status = in_a_fork([&] {
      const Communicator gone = std::move(world);
      return 7;
    });
    EXPECT_EQ(status, 7);
    check_collectives(world, 1000);
  }
}

}  // namespace
}  // namespace cpdcomm::testing
