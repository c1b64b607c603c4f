#include "allreduce/program.hpp"

#include <fmt/format.h>
#include <mpi.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstring>
#include <iterator>
#include <optional>

#include "allreduce/data.hpp"
#include "allreduce/library.hpp"
#include "allreduce/progress.hpp"
#include "allreduce/writers.hpp"
#include "common/exit_codes.hpp"
#include "common/text.hpp"
#include "cpdcomm/error.hpp"

namespace cpdcomm::perf {
namespace {

int rank_in_world() {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank;
}

Place place_here() {
  std::array<char, MPI_MAX_PROCESSOR_NAME> name{};
  int length = 0;
  MPI_Get_processor_name(name.data(), &length);
  return {name.data(), getpid(), sched_getcpu()};
}

/// Where all ranks run, in rank order; on rank 0.
std::vector<Place> all_places(int ranks) {
  struct Sent {
    std::array<char, 64> host;
    int process;
    int core;
  };
  const Place here = place_here();
  Sent mine{{}, here.process, here.core};
  std::strncpy(mine.host.data(), here.host.c_str(), mine.host.size() - 1);
  std::vector<Sent> all(static_cast<std::size_t>(ranks));
  MPI_Gather(&mine, sizeof mine, MPI_BYTE, all.data(), sizeof mine, MPI_BYTE, 0, MPI_COMM_WORLD);
  std::vector<Place> places;
  for (const Sent& sent : all) places.push_back({sent.host.data(), sent.process, sent.core});
  return places;
}

std::string mpi_version() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  MPI_Get_library_version(text.data(), &length);
  std::string version(text.data());
  std::ranges::replace(version, '\t', ' ');  // of MPICH
  return version.substr(0, version.find_first_of(",\n"));
}

/// Rank 0's report writers; none elsewhere. All ranks learn whether they could be made.
std::vector<std::unique_ptr<Writer>> make_writers(const Options& options) {
  std::vector<std::unique_ptr<Writer>> writers;
  together([&] {
    if (rank_in_world() != 0) return;
    if (!options.json_file.empty()) writers.push_back(make_json_file(options.json_file));
    writers.push_back(make_writer(options.output));
  });
  return writers;
}

/// Ranks that share this rank's memory.
std::size_t ranks_on_host() {
  MPI_Comm host = MPI_COMM_NULL;
  int ranks = 0;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host);
  MPI_Comm_size(host, &ranks);
  MPI_Comm_free(&host);
  return static_cast<std::size_t>(ranks);
}

/// Every rank has two vectors: better no run than one that the system kills.
void check_memory(const Options& options) {
  const std::size_t ranks = ranks_on_host();
  const std::size_t memory = static_cast<std::size_t>(sysconf(_SC_PHYS_PAGES)) *
                             static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  together([&] {
    if (options.max_bytes < memory / 2 / ranks) return;
    throw Error(ErrorCode::invalid_argument,
                fmt::format("-e is {}; for two vectors on each of the {} ranks of a host with {} "
                            "allowed is less than {}",
                            options.max_bytes, ranks, in_bytes(memory), memory / 2 / ranks));
  });
}

void check_contenders(const Options& options, const Contenders& contenders) {
  if (contenders.all.empty()) {
    throw Error(
        ErrorCode::invalid_argument,
        fmt::format("none of the combinations is possible; the last is {}: {}",
                    contenders.left_out.back().contender, contenders.left_out.back().reason));
  }
  const bool has_mpi = std::ranges::any_of(contenders.all, &Contender::is_mpi);
  const std::size_t most = static_cast<std::size_t>(INT_MAX) * size_of(options.type);
  if (has_mpi && options.max_bytes > most) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("-e is {}; with --baseline mpi allowed is up to {}, because MPI counts "
                            "values in an int",
                            options.max_bytes, most));
  }
}

/// Everything between the command line and the exit code.
class Measurement {
 public:
  /// @throws Error on every rank alike, for what the user asked for and cannot be
  Measurement(const Options& options, std::vector<std::string> command)
      : library_(make_library(options)),
        inputs_(load_inputs(options, library_.size())),
        contenders_(contenders_of(options, library_)),
        run_{options,
             std::move(command),
             date_now(),
             mpi_version(),
             inputs_->describe(),
             all_places(library_.size()),
             contenders_.left_out} {
    check_contenders(options, contenders_);
    check_memory(options);
    writers_ = make_writers(options);
  }

  /// @return the exit code
  int run(const Spoiler& spoiler) {
    const Options& options = run_.options;
    for (const auto& writer : writers_) writer->begin(run_);
    Progress progress(options.sizes(), rank_in_world() == 0);
    Bench bench(options, *inputs_, library_, MPI_COMM_WORLD, contenders_.all, progress, spoiler);
    std::vector<Result> all;
    for (const std::size_t size : options.sizes()) {
      std::vector<Result> results = bench.run(size);
      progress.clear();
      for (const auto& writer : writers_) writer->size_done(results);
      all.insert(all.end(), std::make_move_iterator(results.begin()),
                 std::make_move_iterator(results.end()));
    }
    for (const auto& writer : writers_) writer->end(run_, all);
    return count_wrong(all) == 0 ? kDone : kWrong;
  }

 private:
  Communicator library_;
  std::unique_ptr<Inputs> inputs_;
  Contenders contenders_;
  Run run_;
  std::vector<std::unique_ptr<Writer>> writers_;
};

int complain(const std::string& what) {
  if (rank_in_world() == 0) fmt::print(stderr, "cpd-allreduce-perf: {}\n", what);
  return kFailed;
}

/// One rank cannot go on, and the others would wait for it.
int abort_all(const std::string& what) {
  fmt::print(stderr, "cpd-allreduce-perf: rank {}: {}\n", rank_in_world(), what);
  MPI_Abort(MPI_COMM_WORLD, kFailed);
  return kFailed;
}

/// The same on every rank, or the end of all.
int guarded(const Options& options, std::vector<std::string> command, const Spoiler& spoiler) {
  std::optional<Measurement> measurement;
  try {
    measurement.emplace(options, std::move(command));
    return measurement->run(spoiler);
  } catch (const Error& error) {
    const bool refused =
        error.code() == ErrorCode::invalid_argument || error.code() == ErrorCode::unsupported;
    return refused && !measurement ? complain(error.what()) : abort_all(error.what());
  } catch (const std::exception& error) {
    return abort_all(error.what());
  }
}

}  // namespace

int run_allreduce_perf(int argc, char** argv, const Spoiler& spoiler) {
  const Parsed parsed = parse(argc, argv);
  MPI_Init(&argc, &argv);
  int code = parsed.exit_code;
  if (code < 0) {
    code = guarded(parsed.options, {argv, argv + argc}, spoiler);
  } else if (rank_in_world() == 0) {
    fmt::print(code == 0 ? stdout : stderr, "{}", parsed.message);
  }
  MPI_Finalize();
  return code;
}

}  // namespace cpdcomm::perf
