// All ranks are on one host here: their sums go through shared memory, unless told otherwise.
#include "mpi/world.hpp"
#include "support/bits.hpp"
#include "support/random.hpp"

namespace cpdcomm::testing {
namespace {

/// Sums of several sizes; what they give must not depend on what carries them.
std::vector<std::vector<float>> sums(const CommunicatorOptions& options) {
  Communicator world = make_mpi_communicator(MPI_COMM_WORLD, options);
  std::vector<std::vector<float>> all;
  for (const Algorithm algorithm : {Algorithm::direct, Algorithm::ring, Algorithm::tree}) {
    for (const std::size_t count : {1u, 1000u, 300'000u}) {
      std::vector<float> values(count);
      Random random(static_cast<unsigned>(world.rank()) + 1);
      for (float& value : values) value = static_cast<float>(random.below(1000)) * 0.37f;
      world.allreduce(values, {.wire = Format::floating(4, 3), .algorithm = algorithm});
      all.push_back(values);
    }
  }
  return all;
}

TEST(SharedMemory, DoesNotChangeASum) {
  const auto with = sums({.timeout = std::chrono::seconds(60), .shared_memory = true});
  const auto without = sums({.timeout = std::chrono::seconds(60), .shared_memory = false});
  ASSERT_EQ(with.size(), without.size());
  for (std::size_t i = 0; i < with.size(); ++i) EXPECT_TRUE(same_bits(with[i], without[i])) << i;
}

}  // namespace
}  // namespace cpdcomm::testing
