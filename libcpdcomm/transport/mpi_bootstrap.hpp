#pragma once

#include <mpi.h>

#include <vector>

#include "transport/bootstrap.hpp"
#include "transport/mpi_turns.hpp"

namespace cpdcomm::transport {

/// Over an MPI communicator, which nobody else uses meanwhile.
class MpiBootstrap final : public Bootstrap {
 public:
  explicit MpiBootstrap(MPI_Comm comm) : comm_(comm) {
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  std::vector<std::vector<std::byte>> allgather(std::span<const std::byte> mine) override {
    const int own = static_cast<int>(mine.size());
    const auto ranks = static_cast<std::size_t>(size_);
    std::vector<int> sizes(ranks);
    wait_in_turns("MPI_Iallgather", [&](MPI_Request* request) {
      return MPI_Iallgather(&own, 1, MPI_INT, sizes.data(), 1, MPI_INT, comm_, request);
    });
    std::vector<int> begins(ranks);
    int end = 0;
    for (std::size_t rank = 0; rank < ranks; ++rank) {
      begins[rank] = end;
      end += sizes[rank];
    }
    std::vector<std::byte> bytes(static_cast<std::size_t>(end));
    wait_in_turns("MPI_Iallgatherv", [&](MPI_Request* request) {
      return MPI_Iallgatherv(mine.data(), own, MPI_BYTE, bytes.data(), sizes.data(), begins.data(),
                             MPI_BYTE, comm_, request);
    });
    std::vector<std::vector<std::byte>> all;
    for (std::size_t rank = 0; rank < ranks; ++rank) {
      const auto first = bytes.begin() + begins[rank];
      all.emplace_back(first, first + sizes[rank]);
    }
    return all;
  }

 private:
  MPI_Comm comm_;
  int rank_ = 0;
  int size_ = 1;
};

}  // namespace cpdcomm::transport
