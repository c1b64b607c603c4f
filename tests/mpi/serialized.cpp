// Where MPI allows one thread at a time: threads that make groups, and sum, in another order on
// each rank wait for each other and for ever, unless whoever waits lets the others go on.
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "cpdcomm/mpi.hpp"
#include "cpdcomm/world.hpp"

namespace {

using cpdcomm::Communicator;

void expect_sum(Communicator& group, const char* which) {
  std::vector<float> values(1000, 1.0f);
  group.allreduce(values);
  if (values == std::vector<float>(1000, static_cast<float>(group.size()))) return;
  std::printf("rank %d: a wrong sum in %s\n", group.rank(), which);
  std::exit(1);
}

/// Two groups of all, each on a thread of its own; which is first depends on the rank.
void make_groups_at_once(const cpdcomm::World& world, std::span<const int> ranks) {
  const auto work = [&](int tag, bool late) {
    if (late) std::this_thread::sleep_for(std::chrono::milliseconds(300));
    Communicator group = world.connect(ranks, tag);
    expect_sum(group, "one of two groups");
  };
  const bool odd = world.rank() % 2 == 1;
  std::thread first(work, 1, odd);
  std::thread second(work, 2, !odd);
  first.join();
  second.join();
}

/// Even ranks make a group while their sum is under way; the others wait for that sum first.
void make_a_group_during_a_sum(const cpdcomm::World& world, std::span<const int> ranks) {
  Communicator all = cpdcomm::make_mpi_communicator(
      MPI_COMM_WORLD, {.timeout = std::chrono::seconds(30), .shared_memory = false});
  std::vector<float> values(1'000'000, 1.0f);
  const cpdcomm::Tensor tensor{.data = values.data(), .count = values.size()};
  const cpdcomm::AllreduceOptions options{.algorithm = cpdcomm::Algorithm::ring};
  if (world.rank() % 2 == 1) std::this_thread::sleep_for(std::chrono::milliseconds(300));
  cpdcomm::Pending sum = all.iallreduce({&tensor, 1}, options);
  if (world.rank() % 2 == 1) sum.wait();
  Communicator group = world.connect(ranks, 3);
  if (world.rank() % 2 == 0) sum.wait();
  expect_sum(group, "a group made during a sum");
}

}  // namespace

int main(int argc, char** argv) {
  int level = MPI_THREAD_SINGLE;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_SERIALIZED, &level);
  if (level != MPI_THREAD_SERIALIZED) std::printf("this MPI has another level, %d\n", level);
  {
    const cpdcomm::World world = cpdcomm::World::load("mpi");
    std::vector<int> ranks;
    for (int rank = 0; rank < world.size(); ++rank) ranks.push_back(rank);
    make_groups_at_once(world, ranks);
    make_a_group_during_a_sum(world, ranks);
  }
  MPI_Finalize();
  return 0;
}
