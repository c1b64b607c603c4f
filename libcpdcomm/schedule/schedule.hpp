#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "payload.hpp"

namespace cpdcomm::schedule {

using cpdcomm::Payload;

/// Where a message goes, for schedules and cost models that tell hosts apart.
enum class Leg : std::uint8_t { inside_host, across_hosts };

struct Message {
  int peer;
  Payload payload;
  int parts;  ///< ranks whose parts are in it: with the payload, all that fixes its size
  Leg leg = Leg::across_hosts;

  friend bool operator==(const Message&, const Message&) = default;
};

enum class Action : std::uint8_t {
  send_part,  ///< sends this rank's part
  join,       ///< joins what it received with this rank's part, sends the partial sum
  finish,     ///< joins the last parts, keeps the result and sends it
  take,       ///< receives a result, keeps it and sends it on
};

/// One step of one rank: it waits for what it receives, acts on one chunk, then sends.
struct Step {
  Action action;
  int chunk;
  std::vector<Message> receive;  ///< in the order of joining
  int own_after;                 ///< this rank's part joins after so many of the received ones
  std::vector<Message> send;
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
/// One chunk from `root` to everybody along a binomial tree.
Schedule broadcast(int rank, int ranks, int root);
/// Chunk c, which rank c has, goes round a ring to everybody.
Schedule allgather(int rank, int ranks);

}  // namespace cpdcomm::schedule
