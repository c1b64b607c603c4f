// Soaks ranks that are threads. See --help.
#include <cstdio>
#include <thread>

#include "cpdcomm/threads.hpp"
#include "support/soak.hpp"
#include "support/soak_options.hpp"

namespace cpdcomm::testing {
namespace {

/// Communicators of every rank: of several segment sizes, numbers of threads, and hosts.
std::vector<std::vector<Communicator>> make_communicators(int ranks) {
  std::vector<std::vector<Communicator>> by_rank(static_cast<std::size_t>(ranks));
  const CommunicatorOptions kinds[] = {
      {.codec_threads = 1}, {.segment_bytes = 500, .codec_threads = 3}, {.segment_bytes = 4000}};
  for (const CommunicatorOptions& options : kinds) {
    auto made = make_thread_communicators(ranks, options, 2);
    for (std::size_t rank = 0; rank < made.size(); ++rank) {
      by_rank[rank].push_back(std::move(made[rank]));
    }
  }
  return by_rank;
}

/// All ranks' results added up.
SoakResult run(std::vector<Soak>& soaks, std::uint64_t operations) {
  std::vector<SoakResult> results(soaks.size());
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < soaks.size(); ++rank) {
    threads.emplace_back([&, rank] { results[rank] = soaks[rank].run(operations); });
  }
  for (std::thread& thread : threads) thread.join();
  SoakResult all = results[0];
  for (std::size_t rank = 1; rank < results.size(); ++rank) {
    all.wrong += results[rank].wrong;
    if (all.first_wrong.empty()) all.first_wrong = results[rank].first_wrong;
  }
  return all;
}

int soak(const SoakOptions& options) {
  auto communicators = make_communicators(options.ranks);
  std::vector<Soak> soaks;
  for (auto& mine : communicators) soaks.emplace_back(mine, options.seed);
  return report_soak(options, options.ranks,
                     [&](std::uint64_t operations) { return run(soaks, operations); });
}

}  // namespace
}  // namespace cpdcomm::testing

int main(int argc, char** argv) {
  return cpdcomm::testing::soak(cpdcomm::testing::parse_soak_options(argc, argv));
}
