#include "collective/choose.hpp"

#include "cpdcomm/error.hpp"

namespace cpdcomm::collective {
namespace {

// Direct casts each value twice where a ring casts it once a hop, sends the same bytes and has two
// hops instead of 2 (N - 1); beyond so many ranks its N - 1 messages at once are too many.
constexpr int kMostDirectRanks = 32;

}  // namespace

Algorithm choose(Algorithm asked, int ranks) {
  if (asked != Algorithm::automatic) return asked;
  return ranks <= kMostDirectRanks ? Algorithm::direct : Algorithm::ring;
}

schedule::Schedule schedule_of(Algorithm algorithm, int rank, int ranks) {
  switch (algorithm) {
    case Algorithm::direct:
      return schedule::direct(rank, ranks);
    case Algorithm::ring:
      return schedule::ring(rank, ranks);
    case Algorithm::tree:
      return schedule::tree(rank, ranks);
    case Algorithm::halving_doubling:
      return schedule::halving_doubling(rank, ranks);
    case Algorithm::automatic:
      break;
  }
  throw Error(ErrorCode::invalid_argument, "no algorithm was chosen");
}

}  // namespace cpdcomm::collective
