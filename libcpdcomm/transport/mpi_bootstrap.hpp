#pragma once

#include <fmt/format.h>
#include <mpi.h>

#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "cpdcomm/error.hpp"
#include "transport/bootstrap.hpp"

namespace cpdcomm::transport {

/// @throws Error peer_failed with MPI's own words
inline void check(int code, const char* what) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw Error(ErrorCode::peer_failed, fmt::format("{}: {}", what, text));
}

/// Where MPI allows one thread at a time, all our threads take turns.
inline std::unique_lock<std::mutex> turn() {
  static std::mutex mutex;
  static const bool needed = [] {
    int level = MPI_THREAD_SINGLE;
    MPI_Query_thread(&level);
    return level < MPI_THREAD_MULTIPLE;
  }();
  return needed ? std::unique_lock(mutex) : std::unique_lock<std::mutex>();
}

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
    wait("MPI_Iallgather", [&](MPI_Request* request) {
      return MPI_Iallgather(&own, 1, MPI_INT, sizes.data(), 1, MPI_INT, comm_, request);
    });
    std::vector<int> begins(ranks);
    int end = 0;
    for (std::size_t rank = 0; rank < ranks; ++rank) {
      begins[rank] = end;
      end += sizes[rank];
    }
    std::vector<std::byte> bytes(static_cast<std::size_t>(end));
    wait("MPI_Iallgatherv", [&](MPI_Request* request) {
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
  /// In turns, because a peer may need another of our threads to come this far.
  static void wait(const char* what, const std::function<int(MPI_Request*)>& start) {
    MPI_Request request = MPI_REQUEST_NULL;
    {
      const auto lock = turn();
      check(start(&request), what);
    }
    int flag = 0;
    while (flag == 0) {
      std::this_thread::yield();
      const auto lock = turn();
      check(MPI_Test(&request, &flag, MPI_STATUS_IGNORE), what);
    }
  }

  MPI_Comm comm_;
  int rank_ = 0;
  int size_ = 1;
};

}  // namespace cpdcomm::transport
