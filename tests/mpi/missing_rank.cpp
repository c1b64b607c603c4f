// The last rank never calls: the others get an error in time and end without MPI_Finalize, which
// would wait for it.
#include <cstdio>
#include <vector>

#include "cpdcomm/mpi.hpp"

namespace {

using cpdcomm::Communicator;
using cpdcomm::ErrorCode;

/// The code with which an all-reduce ends; `missing` when it does not fail.
const char* end_of_allreduce(Communicator& world) {
  std::vector<float> values(1000, 1.0f);
  try {
    world.allreduce(values, {.wire = cpdcomm::Format::floating(4, 3)});
  } catch (const cpdcomm::Error& error) {
    std::printf("rank %d: %s: %s\n", world.rank(), to_string(error.code()), error.what());
    const bool ended = error.code() == ErrorCode::timeout || error.code() == ErrorCode::peer_failed;
    return ended ? nullptr : "another error than timeout and peer_failed";
  }
  return "no error";
}

const char* fault(int rank, int ranks) {
  Communicator world =
      cpdcomm::make_mpi_communicator(MPI_COMM_WORLD, {.timeout = std::chrono::milliseconds(300)});
  char done = 1;
  const int last = ranks - 1;
  if (rank == last) {
    for (int peer = 0; peer < last; ++peer) {
      MPI_Recv(&done, 1, MPI_CHAR, peer, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    }
    return nullptr;
  }
  const char* first = end_of_allreduce(world);
  const char* second = end_of_allreduce(world);  // the communicator is dead
  MPI_Send(&done, 1, MPI_CHAR, last, 0, MPI_COMM_WORLD);
  return first != nullptr ? first : second;
}

}  // namespace

int main(int argc, char** argv) {
  int level = MPI_THREAD_SINGLE;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &level);
  int rank = 0;
  int ranks = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  const char* wrong = fault(rank, ranks);
  if (wrong != nullptr) std::printf("rank %d: %s\n", rank, wrong);
  return wrong == nullptr ? 0 : 1;
}
