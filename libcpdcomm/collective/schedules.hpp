#pragma once

#include <array>
#include <map>

#include "cpdcomm/options.hpp"
#include "schedule/schedule.hpp"

namespace cpdcomm::collective {

/// The schedules of one rank, worked out when they are first needed and kept.
class Schedules {
 public:
  Schedules(int rank, schedule::Hosts hosts) : rank_(rank), hosts_(std::move(hosts)) {}

  /// @param algorithm  a definite one
  /// @param across     of hierarchical, between hosts: a definite one
  const schedule::Schedule& allreduce(Algorithm algorithm, Algorithm across);
  const schedule::Schedule& exchange();
  const schedule::Schedule& reduce_scatter(Algorithm algorithm);
  const schedule::Schedule& broadcast(int root);
  const schedule::Schedule& allgather();
  const schedule::Schedule& reduce(int root);
  const schedule::Schedule& gather(int root);
  const schedule::Schedule& scatter(int root);
  const schedule::Schedule& alltoall();

 private:
  enum class Kind {
    allreduce,
    exchange,
    reduce_scatter,
    broadcast,
    allgather,
    reduce,
    gather,
    scatter,
    alltoall
  };
  using Key = std::array<int, 3>;

  template <typename Make>
  const schedule::Schedule& kept(Kind kind, int first, int second, Make&& make);
  int ranks() const { return static_cast<int>(hosts_.size()); }

  int rank_;
  schedule::Hosts hosts_;
  std::map<Key, schedule::Schedule> kept_;
};

}  // namespace cpdcomm::collective
