#include <fmt/format.h>
#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <numeric>

#include "allreduce/data.hpp"
#include "collective/tuning/decision.hpp"
#include "common/exit_codes.hpp"
#include "common/machine.hpp"
#include "common/output_file.hpp"
#include "common/text.hpp"
#include "cpdcomm/version.hpp"
#include "transport/module.hpp"
#include "tune/cautious.hpp"
#include "tune/links.hpp"
#include "tune/measurement.hpp"

extern "C" cpdcomm::transport::Module* cpdcomm_transport_module();

namespace cpdcomm::perf::tune {
namespace {

namespace tuning = collective::tuning;

int rank_in_world() {
  int rank = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  return rank;
}

/// The hosts as the library sees them.
schedule::Hosts hosts_here() {
  transport::Module& module = *cpdcomm_transport_module();
  std::vector<int> ranks(static_cast<std::size_t>(module.world_size()));
  std::iota(ranks.begin(), ranks.end(), 0);
  const auto transport = module.open(ranks, 0, {});
  schedule::Hosts hosts;
  for (const int rank : ranks) hosts.push_back(transport->host_of(rank));
  return hosts;
}

tuning::Place place_of(const schedule::Hosts& hosts) {
  const int ranks = static_cast<int>(hosts.size());
  tuning::Place place{"mpi", ranks, 1 + std::ranges::max(hosts), ranks};
  for (int host = 0; host < place.hosts; ++host) {
    place.ranks_per_host =
        std::min(place.ranks_per_host, static_cast<int>(std::ranges::count(hosts, host)));
  }
  return place;
}

/// Whatever speaks against the run, before anything is measured; the same on every rank.
tuning::Table table_to_add_to(const Options& options) {
  tuning::Table table;
  together([&] {
    if (rank_in_world() != 0) return;
    if (const std::string why = why_not_writable(options.file); !why.empty()) {
      throw Error(ErrorCode::invalid_argument, why);
    }
    if (!options.force && access(options.file.c_str(), F_OK) == 0) {
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("{} is there already; -f overwrites it", options.file));
    }
    if (options.add_to.empty()) return;
    table = tuning::parse_table(tuning::read_table(options.add_to), options.add_to);
  });
  return table;
}

tuning::Profile profile_of(const tuning::Place& place, const schedule::Network& network,
                           const std::vector<Contender>& contenders,
                           const std::vector<tuning::Curve>& curves) {
  tuning::Profile profile{
      .transport = place.transport, .hosts = place.hosts, .ranks = place.ranks, .network = network};
  for (std::size_t i = 0; i < contenders.size(); ++i) {
    if (contenders[i].native) {
      profile.native = curves[i];
    } else if (!curves[i].empty()) {
      profile.own.push_back({contenders[i].way, contenders[i].wire, curves[i]});
    }
  }
  // What the smallest direct all-reduce takes beyond its two hops.
  const double latency = 2 * (place.hosts > 1 ? network.latency_across : network.latency_inside) +
                         2 * (place.ranks - 1) * network.cpu_seconds_per_message;
  profile.call_seconds = std::max(0.0, profile.own.front().times.front().seconds - latency);
  return profile;
}

/// With a profile of the same place: where ranks land differs from launch to launch, and with it
/// what is faster.
void add(tuning::Table& table, const tuning::Profile& profile) {
  const auto same = std::ranges::find_if(table.profiles, [&](const tuning::Profile& old) {
    return old.transport == profile.transport && old.hosts == profile.hosts &&
           old.ranks == profile.ranks;
  });
  if (same == table.profiles.end()) {
    table.profiles.push_back(profile);
  } else {
    *same = cautious(*same, profile);
  }
  const std::string about = fmt::format("cpd-tune {}, {}, {}: {} ranks on {} hosts", version(),
                                        date_now(), cpu_model(), profile.ranks, profile.hosts);
  table.about += (table.about.empty() ? "" : "; ") + about;
}

std::string choice(const tuning::Decision& decision) {
  const collective::Plan& plan = decision.plan;
  if (plan.native()) return "MPI";
  const tuning::Way way{plan.algorithm, plan.across, plan.exchange, plan.segment_bytes};
  return fmt::format("{}{}", to_string(way), plan.compressed ? "" : " (fp32)");
}

/// What `automatic` will do by this table.
void show(const tuning::Table& table, const tuning::Place& place, const Options& options) {
  fmt::print("{:>10} {:>12}", "size", "MPI us");
  for (const std::string& wire : options.wires) fmt::print("  {:<24} {:>10}", wire, "us");
  fmt::print("\n");
  for (const std::size_t size : options.sizes()) {
    std::string line;
    double native = 0;
    for (const std::string& name : options.wires) {
      const Format wire = Format::parse(name);
      const tuning::Decision decision =
          tuning::decide(table, place,
                         {.scaled = wire.is_float() && !wire.is_fp32(),
                          .wire = wire,
                          .bytes = static_cast<double>(size),
                          .native_calls = 1,
                          .may_decline = true});
      native = decision.native;
      const double taken = decision.plan.native()     ? decision.native
                           : decision.plan.compressed ? decision.asked
                                                      : decision.plain;
      line += fmt::format("  {:<24} {:>10.1f}", choice(decision), taken * 1e6);
    }
    fmt::print("{:>10} {:>12.1f}{}\n", in_bytes(size), native * 1e6, line);
  }
}

void write(const tuning::Table& table, const Options& options) {
  if (options.force) std::remove(options.file.c_str());
  const OutputFile file(options.file);
  file.write(to_json(table));
  fmt::print("written to {}; CPDCOMM_TUNING={} uses it\n", file.name(), file.name());
}

int tune(const Options& options) {
  const schedule::Hosts hosts = hosts_here();
  const tuning::Place place = place_of(hosts);
  tuning::Table table = table_to_add_to(options);
  together([&] {
    if (place.ranks > 1) return;
    throw Error(ErrorCode::invalid_argument, "1 rank has nobody to sum with; start 2 or more");
  });
  const schedule::Network network = measure_network(hosts);
  const auto contenders = contenders_of(options, place.hosts > 1 && place.ranks_per_host > 1);
  const auto curves = measure(options, contenders);
  if (rank_in_world() != 0) return kDone;
  add(table, profile_of(place, network, contenders, curves));
  fmt::print(
      "{} ranks on {} hosts: latency {:.1f} us, {:.2f} GB/s; algorithm automatic takes\n",
      place.ranks, place.hosts,
      1e6 * (place.hosts > 1 ? network.latency_across : network.latency_inside),
      1e-9 * (place.hosts > 1 ? network.across_bytes_per_second : network.inside_bytes_per_second));
  show(table, place, options);
  write(table, options);
  return kDone;
}

/// What the user asked for is refused on every rank alike; all else ends them all.
int guarded(const Options& options) {
  try {
    return tune(options);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::invalid_argument) {
      if (rank_in_world() == 0) fmt::print(stderr, "cpd-tune: {}\n", error.what());
      return kFailed;
    }
    fmt::print(stderr, "cpd-tune: rank {}: {}\n", rank_in_world(), error.what());
    MPI_Abort(MPI_COMM_WORLD, kFailed);
    return kFailed;
  }
}

}  // namespace
}  // namespace cpdcomm::perf::tune

int main(int argc, char** argv) {
  namespace tune = cpdcomm::perf::tune;
  const tune::Parsed parsed = tune::parse(argc, argv);
  int level = MPI_THREAD_SINGLE;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_MULTIPLE, &level);
  int code = parsed.exit_code;
  if (code < 0) {
    code = tune::guarded(parsed.options);
  } else if (tune::rank_in_world() == 0) {
    fmt::print(code == 0 ? stdout : stderr, "{}", parsed.message);
  }
  MPI_Finalize();
  return code;
}
