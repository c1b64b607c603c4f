#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "payload.hpp"

namespace cpdcomm::schedule {

using cpdcomm::Leg;
using cpdcomm::Payload;

struct Message {
  int peer;
  Payload payload;
  int parts;  ///< ranks whose parts are in it: with the payload, all that fixes its size
  Leg leg = Leg::across_hosts;

  friend bool operator==(const Message&, const Message&) = default;
};

enum class Action : std::uint8_t {
  send_part,  ///< sends this rank's part; with parts from inside the host, the host's
  join,       ///< joins what it received with this rank's part, sends the partial sum
  finish,     ///< joins the last parts, keeps the result and sends it
  keep,       ///< joins the last parts and keeps the sum as it is: the end of a reduce-scatter
  take,       ///< receives a result, keeps it and sends it on
};

/// One step of one rank: it waits for what it receives, acts on one chunk, then sends.
struct Step {
  Action action;
  int chunk;
  std::vector<Message> receive;  ///< in the order of joining
  int own_after;                 ///< this rank's part joins after so many of the received ones
  std::vector<Message> send;
  /// Of `hierarchical`: parts of other ranks of this host, in the order of joining. With this
  /// rank's own part after `own_inside_after` of them they make the host's part, which takes the
  /// place of this rank's own part in all that is said above.
  std::vector<Message> inside = {};
  int own_inside_after = 0;

  friend bool operator==(const Step&, const Step&) = default;
};

/// An algorithm as one rank sees it. Steps run in order; messages between a pair of ranks are sent
/// and received in the same order, so no message needs a tag of its own.
struct Schedule {
  std::string name;
  int rank;
  int ranks;
  int chunks;
  bool parts_travel;  ///< parts enter one by one (direct), not by hops
  std::vector<Step> steps;
};

/// All-reduce. Chunk c belongs to rank c, which gets all parts and joins them in rank order.
Schedule direct(int rank, int ranks);
/// All-reduce. Chunk c starts at rank c and goes round; its last rank, c - 1, spreads the result.
Schedule ring(int rank, int ranks);
/// All-reduce. The double binary tree: chunk 0 goes up and down one tree, chunk 1 another.
Schedule tree(int rank, int ranks);
/// All-reduce. Recursive halving, then doubling; chunk c is finished at rank c.
Schedule halving_doubling(int rank, int ranks);
/// All-reduce in one hop, for few bytes: everybody sends its part of the one chunk to everybody,
/// and each joins all parts in rank order. What `direct` gives, where equal sums are cast equally.
Schedule exchange(int rank, int ranks);

/// Which host each rank is on: hosts[rank], numbered from 0 in the order of their first ranks.
using Hosts = std::vector<int>;
/// One of the all-reduces above.
using Flat = Schedule (*)(int rank, int ranks);
/// All-reduce. The vector has a slot for each place on the smallest host, and a slot is cut into
/// the chunks of `across`: chunk slot * chunks_across + c. A slot's holder on a host is the rank at
/// that place; it gets the parts of its host, sums the slot across hosts as if hosts were ranks,
/// and sends the results to its host. Hosts may differ in size, and lie anyhow among the ranks.
/// @throws Error invalid_argument for hosts that are not numbered so, and for an `across` that uses
///         a part more than once (exchange)
Schedule hierarchical(int rank, const Hosts& hosts, Flat across);

/// Reduce-scatter, the first half of `direct`: chunk c stays at rank c.
Schedule direct_reduce_scatter(int rank, int ranks);
/// Reduce-scatter, the first half of `ring`, turned so that chunk c stays at rank c.
Schedule ring_reduce_scatter(int rank, int ranks);

/// One chunk from `root` to everybody along a binomial tree.
Schedule broadcast(int rank, int ranks, int root);
/// Chunk c, which rank c has, goes round a ring to everybody.
Schedule allgather(int rank, int ranks);
/// Chunk c is summed at rank c, as in `direct`, and goes to `root` alone.
Schedule reduce(int rank, int ranks, int root);
/// Chunk c goes from rank c to `root`.
Schedule gather(int rank, int ranks, int root);
/// Chunk c goes from `root` to rank c.
Schedule scatter(int rank, int ranks, int root);
/// Chunk from * ranks + to goes from rank `from` to rank `to`.
Schedule alltoall(int rank, int ranks);

}  // namespace cpdcomm::schedule
