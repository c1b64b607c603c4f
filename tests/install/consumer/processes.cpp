#include <cpdcomm/mpi.hpp>
#include <vector>

int main(int argc, char** argv) {
  MPI_Init(&argc, &argv);
  bool right = false;
  {
    cpdcomm::Communicator world = cpdcomm::make_mpi_communicator(MPI_COMM_WORLD);
    std::vector<float> values(100, 1.0f);
    world.allreduce(values, {.wire = cpdcomm::Format::parse("e4m3")});
    right = values[99] == static_cast<float>(world.size());
  }
  MPI_Finalize();
  return right ? 0 : 1;
}
