#include "tune/contenders.hpp"

#include <fmt/format.h>
#include <mpi.h>

#include <array>

#include "cpdcomm/codec.hpp"
#include "cpdcomm/mpi.hpp"

namespace cpdcomm::perf::tune {
namespace {

using collective::tuning::Profile;
using collective::tuning::Table;
using collective::tuning::Way;

constexpr std::size_t kLargestExchange = 256 << 10;
constexpr std::array kFlat{Algorithm::direct, Algorithm::ring, Algorithm::tree,
                           Algorithm::halving_doubling};

std::vector<Way> ways_of(std::size_t segment, bool levels) {
  std::vector<Way> ways;
  for (const Algorithm flat : kFlat) {
    ways.push_back({flat, Algorithm::direct, false, segment});
  }
  if (segment == collective::kLargestSegment) ways.push_back({.exchange = true});
  if (!levels) return ways;
  for (const Algorithm across : kFlat) {
    ways.push_back({Algorithm::hierarchical, across, false, segment});
  }
  return ways;
}

/// No option names `exchange`; a table can.
std::string exchange_table() {
  Profile one_host{.transport = "mpi", .network = {1, 1, 1, 1, 1, 1}};
  one_host.rules.push_back({.way = {.exchange = true}});
  Profile several = one_host;
  several.hosts = several.ranks = 2;
  return to_json(Table{.about = {}, .codecs = {}, .profiles = {one_host, several}});
}

/// No report tells it from direct, but the bytes do: each rank's whole vector goes to all others.
void require_exchange(const Report& report, int ranks, Format wire, std::size_t count) {
  const std::size_t least = static_cast<std::size_t>(ranks - 1) * encoded_size(wire, count);
  if (report.wire_bytes >= least) return;
  throw Error(ErrorCode::unsupported,
              fmt::format("{} bytes were sent where an exchange sends {} at least: not taken",
                          report.wire_bytes, least));
}

}  // namespace

std::string Contender::name() const {
  if (native) return "MPI_Allreduce";
  return fmt::format("{} {} {}", to_string(way), wire.to_string(), way.segment_bytes);
}

bool Contender::is_worth(std::size_t bytes) const {
  if (native) return true;
  if (way.exchange) return bytes <= kLargestExchange;
  // A vector that lies in few segments anyhow is sent alike.
  return way.segment_bytes == collective::kLargestSegment || bytes > 4 * way.segment_bytes;
}

std::vector<Contender> contenders_of(const Options& options, bool levels) {
  std::vector<Contender> all{{.native = true}};
  for (const std::string& wire : options.wires) {
    for (const std::size_t segment : options.segments) {
      for (const Way& way : ways_of(segment, levels)) {
        all.push_back({.way = way, .wire = Format::parse(wire)});
      }
    }
  }
  return all;
}

Caller::Caller(std::size_t max_bytes)
    : in_(max_bytes / sizeof(float), 1.0f), out_(max_bytes / sizeof(float)) {}

Communicator& Caller::communicator_of(const Contender& contender) {
  const std::pair key{contender.way.segment_bytes, contender.way.exchange};
  const auto found = communicators_.find(key);
  if (found != communicators_.end()) return found->second;
  // With checks the library never hands a call over to MPI.
  const CommunicatorOptions options{.segment_bytes = key.first,
                                    .tuning = key.second ? exchange_table() : std::string(),
                                    .check = true};
  return communicators_.emplace(key, make_mpi_communicator(MPI_COMM_WORLD, options)).first->second;
}

double Caller::time(const Contender& contender, std::size_t bytes) {
  const std::size_t count = bytes / sizeof(float);
  if (contender.native) {
    MPI_Barrier(MPI_COMM_WORLD);
    const double begin = MPI_Wtime();
    MPI_Allreduce(in_.data(), out_.data(), static_cast<int>(count), MPI_FLOAT, MPI_SUM,
                  MPI_COMM_WORLD);
    return MPI_Wtime() - begin;
  }
  Communicator& communicator = communicator_of(contender);
  const Tensor tensor{.data = out_.data(), .count = count, .input = in_.data()};
  const Way& way = contender.way;
  const AllreduceOptions options{.wire = contender.wire,
                                 .algorithm = way.exchange ? Algorithm::automatic : way.algorithm,
                                 .across = way.across};
  MPI_Barrier(MPI_COMM_WORLD);
  const double begin = MPI_Wtime();
  const Report report = communicator.allreduce({&tensor, 1}, options);
  const double seconds = MPI_Wtime() - begin;
  if (way.exchange) require_exchange(report, communicator.size(), contender.wire, count);
  return seconds;
}

}  // namespace cpdcomm::perf::tune
