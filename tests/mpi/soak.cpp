// Soaks MPI's processes: mpirun -n 4 test_mpi_soak 20000. See --help.
#include <mpi.h>

#include <cstdio>

#include "mpi/world.hpp"
#include "support/soak.hpp"
#include "support/soak_options.hpp"

namespace cpdcomm::testing {
namespace {

/// Through shared memory, through MPI, and in short segments on several threads.
std::vector<Communicator> make_communicators() {
  const CommunicatorOptions kinds[] = {
      {}, {.shared_memory = false}, {.segment_bytes = 500, .codec_threads = 3}};
  std::vector<Communicator> communicators;
  for (const CommunicatorOptions& options : kinds) {
    communicators.push_back(make_mpi_communicator(MPI_COMM_WORLD, options));
  }
  return communicators;
}

int soak(const SoakOptions& options) {
  std::vector<Communicator> communicators = make_communicators();
  Soak soak(communicators, options.seed);
  return report_soak(options, 1, [&](std::uint64_t operations) { return soak.run(operations); });
}

}  // namespace
}  // namespace cpdcomm::testing

int main(int argc, char** argv) {
  const cpdcomm::testing::SoakOptions options = cpdcomm::testing::parse_soak_options(argc, argv);
  int level = MPI_THREAD_SINGLE;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &level);
  if (level != MPI_THREAD_MULTIPLE) {
    std::fprintf(stderr, "this MPI does not let several threads call it at once\n");
    MPI_Abort(MPI_COMM_WORLD, 2);
  }
  const int own = cpdcomm::testing::soak(options);
  int any = 0;
  MPI_Allreduce(&own, &any, 1, MPI_INT, MPI_MAX, MPI_COMM_WORLD);
  MPI_Finalize();
  return any;
}
