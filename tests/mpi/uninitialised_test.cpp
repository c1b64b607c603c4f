#include <gtest/gtest.h>

#include "cpdcomm/mpi.hpp"

namespace {

TEST(WithoutMpiInit, ThereIsNoCommunicator) {
  try {
    cpdcomm::make_mpi_communicator(MPI_COMM_WORLD);
    FAIL();
  } catch (const cpdcomm::Error& error) {
    EXPECT_EQ(error.code(), cpdcomm::ErrorCode::invalid_argument);
  }
}

}  // namespace
