/* Rank 0 sends 800,000 bytes to the last rank; each prints its host and how many ranks share it. */
#include "../../perf/peers/finalize.h"

enum { kValues = 100000 };
static double values[kValues];

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  int rank, ranks, on_host, length;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  MPI_Comm host;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host);
  MPI_Comm_size(host, &on_host);
  char name[MPI_MAX_PROCESSOR_NAME];
  MPI_Get_processor_name(name, &length);
  if (rank == 0) MPI_Send(values, kValues, MPI_DOUBLE, ranks - 1, 0, MPI_COMM_WORLD);
  if (rank == ranks - 1) {
    MPI_Recv(values, kValues, MPI_DOUBLE, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
  }
  printf("rank %d of %d on %s with %d\n", rank, ranks, name, on_host);
  MPI_Comm_free(&host);
  finalize_and_exit(0);
}
