// MPI for one thread alone: calls of that thread may take MPI's own all-reduce, and a call on a
// thread of its own is refused.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "cpdcomm/mpi.hpp"
#include "mpi/native_table.hpp"

namespace {

using cpdcomm::Algorithm;
using cpdcomm::Communicator;

void require(bool holds, const char* what) {
  if (holds) return;
  std::printf("not so: %s\n", what);
  std::exit(1);
}

void expect_sum(Communicator& ranks, Algorithm algorithm) {
  std::vector<float> values(1000, 1.0f);
  const cpdcomm::Report report = ranks.allreduce(values, {.algorithm = algorithm});
  require(values == std::vector<float>(1000, static_cast<float>(ranks.size())), "a right sum");
  const Algorithm taken = algorithm == Algorithm::automatic ? Algorithm::native : algorithm;
  require(report.algorithm == taken, "the algorithm that was to be taken");
}

void expect_no_thread(Communicator& ranks) {
  std::vector<float> values(1000, 1.0f);
  const cpdcomm::Tensor tensor{.data = values.data(), .count = values.size()};
  try {
    ranks.iallreduce({&tensor, 1}, {}).wait();
  } catch (const cpdcomm::Error& error) {
    require(error.code() == cpdcomm::ErrorCode::unsupported, "the code");
    require(std::string(error.what()).find("MPI_THREAD_SERIALIZED") != std::string::npos,
            "a message that says what would be allowed");
    return;
  }
  require(false, "an error");
}

}  // namespace

int main(int argc, char** argv) {
  int level = MPI_THREAD_SINGLE;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &level);
  require(level < MPI_THREAD_SERIALIZED, "a level for one thread");
  {
    Communicator ranks = cpdcomm::make_mpi_communicator(
        MPI_COMM_WORLD,
        {.timeout = std::chrono::seconds(30), .tuning = cpdcomm::testing::kNativeOnly});
    expect_sum(ranks, Algorithm::automatic);
    expect_sum(ranks, Algorithm::ring);
    expect_no_thread(ranks);
    expect_sum(ranks, Algorithm::direct);
  }
  MPI_Finalize();
  return 0;
}
