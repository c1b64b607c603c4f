// MPI as a module: loaded by its name from beside the library.
#include <algorithm>

#include "cpdcomm/world.hpp"
#include "mpi/world.hpp"
#include "support/bits.hpp"

namespace cpdcomm::testing {
namespace {

TEST(MpiModule, IsLoadedOnceAndKnowsTheWorld) {
  const cpdcomm::World world = cpdcomm::World::load("mpi");
  EXPECT_TRUE(cpdcomm::World::is_loaded("mpi"));
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  EXPECT_EQ(world.rank(), rank);
  world.shutdown(true);  // MPI is not the module's own here
  int finalized = 1;
  MPI_Finalized(&finalized);
  EXPECT_EQ(finalized, 0);
}

TEST(MpiModule, ConnectsSomeRanksInAnyOrder) {
  const cpdcomm::World world = cpdcomm::World::load("mpi");
  std::vector<int> ranks;
  for (int rank = world.size() - 1; rank >= 0; rank -= 2) ranks.push_back(rank);
  const auto own = std::find(ranks.begin(), ranks.end(), world.rank());
  if (own == ranks.end()) return;  // the others do not call
  Communicator group = world.connect(ranks, 7);
  EXPECT_EQ(group.rank(), own - ranks.begin());
  EXPECT_EQ(group.size(), static_cast<int>(ranks.size()));
  std::vector<float> values(100, 1.0f);
  group.allreduce(values);
  EXPECT_TRUE(same_bits(values, std::vector<float>(100, static_cast<float>(ranks.size()))));
}

TEST(MpiCommunicator, RefusesWhatHasNoRanks) {
  try {
    make_mpi_communicator(MPI_COMM_NULL);
    FAIL() << "MPI_COMM_NULL was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
  }
}

}  // namespace
}  // namespace cpdcomm::testing
