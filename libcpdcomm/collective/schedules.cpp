#include "collective/schedules.hpp"

#include "cpdcomm/error.hpp"

namespace cpdcomm::collective {
namespace {

schedule::Flat flat_of(Algorithm algorithm) {
  switch (algorithm) {
    case Algorithm::direct:
      return schedule::direct;
    case Algorithm::ring:
      return schedule::ring;
    case Algorithm::tree:
      return schedule::tree;
    case Algorithm::halving_doubling:
      return schedule::halving_doubling;
    default:
      throw Error(ErrorCode::invalid_argument,
                  "'" + to_string(algorithm) + "' is no algorithm between equal ranks");
  }
}

}  // namespace

template <typename Make>
const schedule::Schedule& Schedules::kept(Kind kind, int first, int second, Make&& make) {
  const Key key{static_cast<int>(kind), first, second};
  const auto found = kept_.find(key);
  if (found != kept_.end()) return found->second;
  return kept_.emplace(key, make()).first->second;
}

const schedule::Schedule& Schedules::allreduce(Algorithm algorithm, Algorithm across) {
  return kept(Kind::allreduce, static_cast<int>(algorithm), static_cast<int>(across), [&] {
    if (algorithm != Algorithm::hierarchical) return flat_of(algorithm)(rank_, ranks());
    return schedule::hierarchical(rank_, hosts_, flat_of(across));
  });
}

const schedule::Schedule& Schedules::exchange() {
  return kept(Kind::exchange, 0, 0, [&] { return schedule::exchange(rank_, ranks()); });
}

const schedule::Schedule& Schedules::reduce_scatter(Algorithm algorithm) {
  return kept(Kind::reduce_scatter, static_cast<int>(algorithm), 0, [&] {
    return algorithm == Algorithm::ring ? schedule::ring_reduce_scatter(rank_, ranks())
                                        : schedule::direct_reduce_scatter(rank_, ranks());
  });
}

const schedule::Schedule& Schedules::broadcast(int root) {
  return kept(Kind::broadcast, root, 0, [&] { return schedule::broadcast(rank_, ranks(), root); });
}

const schedule::Schedule& Schedules::allgather() {
  return kept(Kind::allgather, 0, 0, [&] { return schedule::allgather(rank_, ranks()); });
}

const schedule::Schedule& Schedules::reduce(int root) {
  return kept(Kind::reduce, root, 0, [&] { return schedule::reduce(rank_, ranks(), root); });
}

const schedule::Schedule& Schedules::gather(int root) {
  return kept(Kind::gather, root, 0, [&] { return schedule::gather(rank_, ranks(), root); });
}

const schedule::Schedule& Schedules::scatter(int root) {
  return kept(Kind::scatter, root, 0, [&] { return schedule::scatter(rank_, ranks(), root); });
}

const schedule::Schedule& Schedules::alltoall() {
  return kept(Kind::alltoall, 0, 0, [&] { return schedule::alltoall(rank_, ranks()); });
}

}  // namespace cpdcomm::collective
