#pragma once

#include <gtest/gtest.h>

#include <span>

#include "cpdcomm/mpi.hpp"

namespace cpdcomm::testing {

/// A communicator over all processes, whose sums are the library's own. The timeout is there for
/// safety: no test waits for it.
inline Communicator make_world(std::size_t segment_bytes = 0) {
  return make_mpi_communicator(
      MPI_COMM_WORLD,
      {.timeout = std::chrono::seconds(60), .segment_bytes = segment_bytes, .check = true});
}

/// Whether all ranks hold the same bytes, as MPI finds by itself.
inline bool same_on_all_ranks(std::span<const std::byte> bytes) {
  std::vector<std::byte> first(bytes.begin(), bytes.end());
  MPI_Bcast(first.data(), static_cast<int>(first.size()), MPI_BYTE, 0, MPI_COMM_WORLD);
  const int own = std::equal(first.begin(), first.end(), bytes.begin()) ? 1 : 0;
  int all = 0;
  MPI_Allreduce(&own, &all, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
  return all == 1;
}

}  // namespace cpdcomm::testing
