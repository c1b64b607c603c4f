#pragma once

#include <vector>

#include "schedule/schedule.hpp"

namespace cpdcomm::testing {

#ifdef CPDCOMM_LIGHT_TESTS
inline constexpr int kMostRanks = 20;
inline constexpr int kMostHosts = 5;  // and ranks on each
#else
inline constexpr int kMostRanks = 64;
inline constexpr int kMostHosts = 8;
#endif

inline std::vector<schedule::Schedule> all_ranks(schedule::Flat make, int ranks) {
  std::vector<schedule::Schedule> schedules;
  for (int rank = 0; rank < ranks; ++rank) schedules.push_back(make(rank, ranks));
  return schedules;
}

inline std::vector<schedule::Schedule> all_ranks(const schedule::Hosts& hosts,
                                                 schedule::Flat across) {
  std::vector<schedule::Schedule> schedules;
  for (int rank = 0; rank < static_cast<int>(hosts.size()); ++rank) {
    schedules.push_back(schedule::hierarchical(rank, hosts, across));
  }
  return schedules;
}

/// Hosts one after the other, with so many ranks each.
inline schedule::Hosts blocks(const std::vector<int>& sizes) {
  schedule::Hosts hosts;
  for (std::size_t host = 0; host < sizes.size(); ++host) {
    hosts.insert(hosts.end(), static_cast<std::size_t>(sizes[host]), static_cast<int>(host));
  }
  return hosts;
}

/// Ranks dealt to the hosts in turn, until the hosts are full.
inline schedule::Hosts dealt(std::vector<int> sizes) {
  schedule::Hosts hosts;
  for (bool any = true; any;) {
    any = false;
    for (std::size_t host = 0; host < sizes.size(); ++host) {
      if (sizes[host]-- <= 0) continue;
      hosts.push_back(static_cast<int>(host));
      any = true;
    }
  }
  return hosts;
}

/// An algorithm that may run across hosts.
struct Across {
  const char* name;
  schedule::Flat make;
};
inline constexpr Across kAcross[] = {{"direct", schedule::direct},
                                     {"ring", schedule::ring},
                                     {"tree", schedule::tree},
                                     {"halving_doubling", schedule::halving_doubling}};

}  // namespace cpdcomm::testing
