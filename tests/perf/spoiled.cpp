// A wrong sum is found: this is cpd-allreduce-perf with some bits changed before each check. Ends
// well when the program finds as many wrong values as there are.
#include <mpi.h>

#include <cstdlib>
#include <cstring>
#include <limits>
#include <map>
#include <string>

#include "allreduce/program.hpp"

namespace {

// Whether MPI_Allreduce sums nothing that is large enough to be a vector.
bool mpi_is_lazy = false;

}  // namespace

// MPI's profiling interface: this one is called, and has the real one under another name.
int MPI_Allreduce(const void* in, void* out, int count, MPI_Datatype type, MPI_Op op,
                  MPI_Comm ranks) {
  if (mpi_is_lazy && type == MPI_FLOAT && count >= 1024) return MPI_SUCCESS;
  return PMPI_Allreduce(in, out, count, type, op, ranks);
}

namespace {

using cpdcomm::perf::Buffer;
using cpdcomm::perf::Spoiler;

void flip_last_bit(Buffer& sum, std::size_t value) {
  static_cast<unsigned char*>(sum.data())[value * size_of(sum.type())] ^= 1;
}

const std::map<std::string, Spoiler> kWays{
    {"one_rank",
     [](int rank, Buffer& sum) {
       if (rank == 1) flip_last_bit(sum, 77);
     }},
    {"all_ranks", [](int, Buffer& sum) { flip_last_bit(sum, 77); }},
    {"last_value", [](int, Buffer& sum) { flip_last_bit(sum, sum.count() - 1); }},
    {"sign_of_zero", [](int, Buffer& sum) { static_cast<float*>(sum.data())[77] = -0.0f; }},
    {"nan",
     [](int, Buffer& sum) {
       static_cast<float*>(sum.data())[77] = std::numeric_limits<float>::quiet_NaN();
     }},
    {"lazy_mpi", {}},
    {"never", {}}};

}  // namespace

/// @param argv  the way, the exit code that is right, and the program's own arguments
int main(int argc, char** argv) {
  const Spoiler spoiler = kWays.at(argv[1]);
  const int right = std::atoi(argv[2]);
  mpi_is_lazy = std::string(argv[1]) == "lazy_mpi";
  return cpdcomm::perf::run_allreduce_perf(argc - 2, argv + 2, spoiler) == right ? 0 : 1;
}
