#include "reduction/scratch.hpp"

namespace cpdcomm::reduction {

Scratch& Scratch::of_this_thread(std::size_t tile) {
  thread_local Scratch scratch;
  // The last to grow: where memory runs out in between, the next call tries again.
  if (scratch.source.size() < tile) {
    for (PartialSum* sum : {&scratch.total, &scratch.own, &scratch.received}) sum->resize(tile);
    for (auto* values : {&scratch.values, &scratch.scaled, &scratch.source}) values->resize(tile);
  }
  return scratch;
}

}  // namespace cpdcomm::reduction
