#include "allreduce/data.hpp"

#include <mpi.h>

#include <algorithm>
#include <climits>
#include <filesystem>
#include <string>

#include "allreduce/npy.hpp"
#include "cpdcomm/error.hpp"

namespace cpdcomm::perf {
namespace {

/// The gradients that come with the program: bin/ and share/ lie side by side, built or installed.
std::string gradients_file() {
  const auto program = std::filesystem::read_symlink("/proc/self/exe");
  return program.parent_path().parent_path() / "share" / "cpdcomm" / "gradients.npy";
}

void broadcast(std::vector<float>& values) {
  for (std::size_t first = 0; first < values.size(); first += INT_MAX) {
    const std::size_t count = std::min<std::size_t>(INT_MAX, values.size() - first);
    MPI_Bcast(values.data() + first, static_cast<int>(count), MPI_FLOAT, 0, MPI_COMM_WORLD);
  }
}

NpyArray read_on_rank_0(const std::string& path) {
  NpyArray array{};
  together([&] {
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (rank == 0) array = read_npy(path);
  });
  std::uint64_t shape[2] = {array.rows, array.columns};
  MPI_Bcast(shape, 2, MPI_UINT64_T, 0, MPI_COMM_WORLD);
  array.rows = shape[0];
  array.columns = shape[1];
  array.values.resize(array.rows * array.columns);
  broadcast(array.values);
  return array;
}

}  // namespace

void together(const std::function<void()>& work) {
  std::string complaint;
  try {
    work();
  } catch (const Error& error) {
    complaint = error.what();
  }
  int rank = 0;
  int ranks = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  MPI_Comm_size(MPI_COMM_WORLD, &ranks);
  int first = complaint.empty() ? ranks : rank;
  MPI_Allreduce(MPI_IN_PLACE, &first, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
  if (first == ranks) return;
  int length = static_cast<int>(complaint.size());
  MPI_Bcast(&length, 1, MPI_INT, first, MPI_COMM_WORLD);
  complaint.resize(static_cast<std::size_t>(length));
  MPI_Bcast(complaint.data(), length, MPI_CHAR, first, MPI_COMM_WORLD);
  throw Error(ErrorCode::invalid_argument, complaint);
}

std::unique_ptr<Inputs> load_inputs(const Options& options, int ranks) {
  if (options.input == "random") return random_inputs(options.seed);
  const bool own = options.input == "gradients";
  const std::string path = own ? gradients_file() : options.input;
  NpyArray array = read_on_rank_0(path);
  return array_inputs(std::move(array.values), array.rows, array.columns, ranks,
                      own ? "gradients of a real model" : path);
}

}  // namespace cpdcomm::perf
