#include "tune/links.hpp"

#include <mpi.h>

#include <algorithm>
#include <vector>

#include "common/statistics.hpp"

namespace cpdcomm::perf::tune {
namespace {

// What a processor moves through TCP shows in the times of whole calls, which correct the model.
constexpr double kCpuBytesPerSecond = 2.5e9;

constexpr int kRounds = 50;
constexpr int kSmall = 8;
constexpr int kLarge = 1 << 20;

/// Whom this rank sends to, and whom it hears from; both are itself where there is nobody.
struct Neighbours {
  int to;
  int from;
};

/// The ring of all ranks of a host, or of the ranks at the same place on all hosts.
Neighbours neighbours_of(int rank, const schedule::Hosts& hosts, bool inside) {
  const auto place = [&](int r) {
    const auto end = hosts.begin() + r;
    return std::count(hosts.begin(), end, hosts[static_cast<std::size_t>(r)]);
  };
  std::vector<int> ring;
  for (int r = 0; r < static_cast<int>(hosts.size()); ++r) {
    const bool same_host =
        hosts[static_cast<std::size_t>(r)] == hosts[static_cast<std::size_t>(rank)];
    if (inside ? same_host : place(r) == place(rank)) ring.push_back(r);
  }
  const auto here = static_cast<std::size_t>(std::ranges::find(ring, rank) - ring.begin());
  return {ring[(here + 1) % ring.size()], ring[(here + ring.size() - 1) % ring.size()]};
}

/// Seconds in which a message goes to the next rank while one comes from the one before: the
/// median, of the slowest rank.
double seconds_of(const Neighbours& neighbours, int bytes, int messages) {
  std::vector<char> out(static_cast<std::size_t>(bytes));
  std::vector<char> in(out.size() * static_cast<std::size_t>(messages));
  std::vector<MPI_Request> requests(2 * static_cast<std::size_t>(messages));
  std::vector<double> times;
  for (int round = 0; round < kRounds; ++round) {
    MPI_Barrier(MPI_COMM_WORLD);
    const double begin = MPI_Wtime();
    for (std::size_t i = 0; i < static_cast<std::size_t>(messages); ++i) {
      MPI_Irecv(in.data() + i * out.size(), bytes, MPI_BYTE, neighbours.from, 0, MPI_COMM_WORLD,
                &requests[2 * i]);
      MPI_Isend(out.data(), bytes, MPI_BYTE, neighbours.to, 0, MPI_COMM_WORLD,
                &requests[2 * i + 1]);
    }
    MPI_Waitall(2 * messages, requests.data(), MPI_STATUSES_IGNORE);
    times.push_back(MPI_Wtime() - begin);
  }
  std::ranges::sort(times);
  double median = median_of_sorted(times);
  MPI_Allreduce(MPI_IN_PLACE, &median, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
  return std::max(median, 1e-9);
}

struct Link {
  double latency;
  double bytes_per_second;  ///< of a rank
  double per_message;
};

Link measure(const Neighbours& neighbours) {
  constexpr int kMany = 64;
  const double latency = seconds_of(neighbours, kSmall, 1);
  const double many = seconds_of(neighbours, kSmall, kMany);
  const double large = seconds_of(neighbours, kLarge, 1);
  return {latency, kLarge / std::max(large - latency, large / 10), many / kMany};
}

}  // namespace

schedule::Network measure_network(const schedule::Hosts& hosts) {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  const int all_hosts = 1 + *std::ranges::max_element(hosts);
  const auto ranks = static_cast<int>(hosts.size());
  const bool several_inside = ranks > all_hosts;
  const bool several_hosts = all_hosts > 1;
  const Link inside = measure(neighbours_of(rank, hosts, several_inside || !several_hosts));
  const Link across = several_hosts ? measure(neighbours_of(rank, hosts, false)) : inside;
  const double sharing = several_hosts ? static_cast<double>(ranks) / all_hosts : 1;
  return {.latency_inside = inside.latency,
          .latency_across = across.latency,
          .inside_bytes_per_second = inside.bytes_per_second,
          .across_bytes_per_second = across.bytes_per_second * sharing,
          .cpu_seconds_per_message = std::min(inside.per_message, across.per_message),
          .cpu_bytes_per_second = kCpuBytesPerSecond};
}

}  // namespace cpdcomm::perf::tune
