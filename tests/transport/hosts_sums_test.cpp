// Collectives whose messages go partly through shared memory, partly over a network.
#include <gtest/gtest.h>

#include "support/bits.hpp"
#include "support/local_bootstrap.hpp"
#include "support/random.hpp"
#include "support/ranks.hpp"
#include "transport/hosts.hpp"
#include "transport/threads.hpp"

namespace cpdcomm::testing {
namespace {

using transport::Hosts;
using transport::Neighbourhood;

/// Sums of all ranks of several sizes, by several algorithms.
std::vector<std::vector<float>> sums(Communicator& self) {
  std::vector<std::vector<float>> all;
  for (const Algorithm algorithm :
       {Algorithm::direct, Algorithm::ring, Algorithm::tree, Algorithm::halving_doubling}) {
    for (const std::size_t count : {1u, 1000u, 300'000u}) {
      std::vector<float> values(count);
      Random random(static_cast<unsigned>(self.rank()) + 1);
      for (float& value : values) value = static_cast<float>(random.below(1000)) * 0.37f;
      self.allreduce(values, {.wire = Format::floating(4, 3), .algorithm = algorithm});
      all.push_back(std::move(values));
    }
  }
  return all;
}

TEST(HostsCommunicators, GiveTheBitsOfThreadsOnHosts) {
  constexpr int kRanks = 4;
  auto networks = transport::make_thread_transports(kRanks);
  std::vector<std::unique_ptr<MeetingPlace>> hosts;
  for (int host = 0; host < 2; ++host) hosts.push_back(std::make_unique<MeetingPlace>(2));
  Ranks threads(make_thread_communicators(kRanks, Ranks::patient(), 2));
  PerRank<std::vector<std::vector<float>>> wanted(kRanks);
  threads.run([&](Communicator& self) { wanted[index_of(self)] = sums(self); });
  threads.run([&](Communicator& self) {
    const int rank = self.rank();
    LocalBootstrap bootstrap(*hosts[static_cast<std::size_t>(rank / 2)], rank % 2);
    Neighbourhood found = transport::meet_neighbours(bootstrap, true);
    found.hosts.host_of = {0, 0, 1, 1};
    auto& network = networks[static_cast<std::size_t>(rank)];
    Communicator shared(std::make_unique<Hosts>(std::move(network), std::move(found)),
                        Ranks::patient());
    const auto got = sums(shared);
    ASSERT_EQ(got.size(), 12u);
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_TRUE(same_bits(got[i], wanted[index_of(self)][i])) << i;
    }
  });
}

}  // namespace
}  // namespace cpdcomm::testing
