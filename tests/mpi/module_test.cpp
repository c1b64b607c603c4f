// MPI as a module: loaded by its name from beside the library.
#include "transport/module.hpp"

#include "mpi/world.hpp"
#include "support/bits.hpp"

namespace cpdcomm::testing {
namespace {

TEST(MpiModule, IsLoadedOnceAndKnowsTheWorld) {
  transport::Module& mpi = transport::load_module("mpi");
  EXPECT_EQ(&mpi, &transport::load_module("mpi"));
  EXPECT_TRUE(transport::is_loaded("mpi"));
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  EXPECT_EQ(mpi.world_rank(), rank);
  mpi.shutdown(true);  // MPI is not the module's own here
  int finalized = 1;
  MPI_Finalized(&finalized);
  EXPECT_EQ(finalized, 0);
}

TEST(MpiModule, ConnectsSomeRanksInAnyOrder) {
  transport::Module& mpi = transport::load_module("mpi");
  std::vector<int> ranks;
  for (int rank = mpi.world_size() - 1; rank >= 0; rank -= 2) ranks.push_back(rank);
  const auto own = std::find(ranks.begin(), ranks.end(), mpi.world_rank());
  if (own == ranks.end()) return;  // the others do not call
  Communicator group(mpi.open(ranks, 7));
  EXPECT_EQ(group.rank(), own - ranks.begin());
  EXPECT_EQ(group.size(), static_cast<int>(ranks.size()));
  std::vector<float> values(100, 1.0f);
  group.allreduce(values);
  EXPECT_TRUE(same_bits(values, std::vector<float>(100, static_cast<float>(ranks.size()))));
}

}  // namespace
}  // namespace cpdcomm::testing
