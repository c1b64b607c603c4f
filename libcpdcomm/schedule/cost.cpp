#include "schedule/cost.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "cpdcomm/error.hpp"

namespace cpdcomm::schedule {
namespace {

/// Of messages of each kind, in whole vectors.
struct Sent {
  double part = 0;
  double partial = 0;
  double result = 0;
};

/// What an all-reduce asks of a network and of a rank, whatever the size of the vector.
struct Load {
  double hops_across = 0;  ///< messages one behind the other on the longest way
  double hops_inside = 0;
  double messages = 0;  ///< that a rank sends for one segment
  double share = 1;     ///< of the vector, that one message carries
  double path = 1;      ///< how often a segment on its longest way meets a rank's whole work
  Sent across = {};     ///< by a host's link, each way
  int senders = 1;      ///< of these, on the host
  Sent inside = {};     ///< by a rank, each way
  double encoded = 0;   ///< by a rank, in whole vectors
  double joined = 0;
  double decoded = 1;
  int casts = 1;
};

int log2_floor(int n) { return std::bit_width(static_cast<unsigned>(n)) - 1; }

Load load_of_direct(int hosts, int per_host) {
  const double n = static_cast<double>(hosts) * per_host;
  const double across = per_host * (n - per_host) / n;
  const double inside = (per_host - 1) / n;
  Load load;
  (hosts > 1 ? load.hops_across : load.hops_inside) = n > 1 ? 2 : 0;
  load.messages = 2 * (n - 1);
  load.senders = per_host;
  load.share = 1 / n;
  load.across = {across, 0, across};
  load.inside = {inside, 0, inside};
  load.encoded = 1 + 1 / n;  // the own part, then the result of the own chunk
  load.joined = 1;
  load.casts = 2;
  return load;
}

Load load_of_ring(int hosts, int per_host) {
  const double n = static_cast<double>(hosts) * per_host;
  const double each = (n - 1) / n;
  Load load;
  // Of the n links of the ring one leaves each host.
  load.hops_across = hosts > 1 ? 2 * each * hosts : 0;
  load.hops_inside = 2 * (n - 1) - load.hops_across;
  load.messages = 2 * (n - 1);
  load.share = 1 / n;
  if (hosts > 1) load.across = {0, each, each};
  if (per_host > 1) load.inside = {0, each, each};
  load.encoded = 1 / n;
  load.joined = each;
  load.casts = hosts * per_host;
  return load;
}

Load load_of_tree(int hosts, int per_host) {
  const int n = hosts * per_host;
  Load load;
  const int levels = log2_floor(n);
  load.casts = levels + 1;
  load.hops_across = 2 * log2_floor(hosts);
  load.hops_inside = 2 * levels - load.hops_across;
  if (n == 1) {
    load.encoded = 1;
    return load;
  }
  load.share = n == 2 ? 1 : 0.5;
  load.path = n == 2 ? 2 : levels;
  load.messages = n == 2 ? 1 : 4;
  // Half a vector up from a leaf in one tree and from an inner place in the other, which has two
  // children that it sends results. Of two ranks one only sends partial sums, the other results.
  const Sent sent{0, 1, n == 2 ? 0.0 : 1.0};
  // Of the ranks of a host two have neighbours elsewhere in each tree, the top of those below them
  // and one that stands higher: three links of half a vector each way, with two hosts two, with a
  // number of hosts that is no power of two up to four.
  const double links = hosts > 2 && per_host > 1 ? 1.5 : 1;
  if (hosts > 1) load.across = {0, sent.partial * links, sent.result * links};
  if (per_host > 1) load.inside = sent;
  load.encoded = 0.5;
  load.joined = 1;
  return load;
}

Load load_of_halving_doubling(int hosts, int per_host) {
  const int n = hosts * per_host;
  Load load;
  load.share = 1.0 / n;
  load.encoded = n == 1 ? 1 : 0.5;
  load.senders = per_host;
  for (int group = n; group > 1; group = (group + 1) / 2) {
    const bool leaves = group > per_host;
    // With an odd number the last pair of the halves is joined by one rank more.
    const double chunks = group % 2 == 1 ? group - 1 : group / 2;
    (leaves ? load.hops_across : load.hops_inside) += 2;
    load.messages += 2 * chunks;
    Sent& sent = leaves ? load.across : load.inside;
    const double vectors = chunks / n * (leaves ? per_host : 1);
    sent.partial += vectors;
    sent.result += vectors;
    load.joined += chunks / n;
    ++load.casts;
  }
  return load;
}

Load load_of_exchange(int hosts, int per_host) {
  const double n = static_cast<double>(hosts) * per_host;
  Load load;
  (hosts > 1 ? load.hops_across : load.hops_inside) = n > 1 ? 1 : 0;
  load.messages = n - 1;
  load.senders = per_host;
  load.across = {per_host * (n - per_host), 0, 0};
  load.inside = {static_cast<double>(per_host - 1), 0, 0};
  load.encoded = 2;  // the part, then the result
  load.joined = n;
  load.casts = 2;
  return load;
}

Load load_of(Shape shape, int hosts, int per_host) {
  switch (shape) {
    case Shape::direct:
      return load_of_direct(hosts, per_host);
    case Shape::ring:
      return load_of_ring(hosts, per_host);
    case Shape::tree:
      return load_of_tree(hosts, per_host);
    case Shape::halving_doubling:
      return load_of_halving_doubling(hosts, per_host);
    case Shape::exchange:
      return load_of_exchange(hosts, per_host);
  }
  throw Error(ErrorCode::invalid_argument, "no such shape");
}

double vectors_bits(const Sent& sent, const WireBits& bits) {
  return sent.part * bits.part + sent.partial * bits.partial + sent.result * bits.result;
}

/// Values times bits of a vector of so many FP32 bytes, in bytes on the wire.
double wire_bytes(double bytes, double bits) { return bytes * bits / 32; }

/// Seconds for the whole vector, and for what does not depend on it.
struct Work {
  double latency = 0;
  double wire = 0;
  double codec = 0;
  double messages = 0;  ///< seconds of a rank's processor for the messages of one segment
  double path = 1;
  double largest_message = 0;  ///< bytes on the wire
  int casts = 0;
};

double largest(const WireBits& bits) { return std::max({bits.part, bits.partial, bits.result}); }

double codec_seconds(const Load& load, const CodecRates& rates, double bytes) {
  return bytes *
         (load.encoded / rates.encode + load.joined / rates.join + load.decoded / rates.decode);
}

Work flat_work(const Network& network, const Task& task, const Load& load) {
  const WireBits& bits = task.coding.bits;
  Work work;
  work.latency =
      load.hops_across * network.latency_across + load.hops_inside * network.latency_inside;
  const double across = wire_bytes(task.bytes, vectors_bits(load.across, bits));
  const double inside = wire_bytes(task.bytes, vectors_bits(load.inside, bits));
  work.wire =
      std::max(across / network.across_bytes_per_second, inside / network.inside_bytes_per_second);
  // As many bytes come as go.
  work.codec = codec_seconds(load, task.coding.rates, task.bytes) +
               2 * across / load.senders / network.cpu_bytes_per_second;
  work.messages = load.messages * network.cpu_seconds_per_message;
  work.path = load.path;
  work.largest_message = wire_bytes(task.bytes * load.share, largest(bits));
  work.casts = load.casts;
  return work;
}

/// A rank holds 1 / ranks_per_host of the vector; all holders of a host share its link.
Work hierarchical_work(const Network& network, const Task& task) {
  const double per_host = task.ranks_per_host;
  Task slot = task;
  slot.bytes = task.bytes / per_host;
  const Load load = load_of(task.shape, task.hosts, 1);
  Network shared = network;
  shared.across_bytes_per_second /= per_host;
  Work work = flat_work(shared, slot, load);

  // To the holders of the other slots go parts, from them come results.
  const double others = (per_host - 1) / per_host;
  const WireBits& bits = task.inside.bits;
  if (per_host > 1) work.latency += 2 * network.latency_inside;
  work.wire = std::max(work.wire, wire_bytes(task.bytes * others, bits.part + bits.result) /
                                      network.inside_bytes_per_second);
  const CodecRates& rates = task.inside.rates;
  work.codec += task.bytes * others * (1 / rates.encode + 1 / rates.join + 1 / rates.decode);
  const double chunks = 1 / load.share;
  work.messages += 2 * (per_host - 1) * chunks * network.cpu_seconds_per_message;
  work.largest_message = std::max(
      work.largest_message, wire_bytes(slot.bytes * load.share, std::max(bits.part, bits.result)));
  if (per_host > 1 && bits.part < 32) ++work.casts;
  return work;
}

void check(bool possible, const char* what) {
  if (!possible) throw Error(ErrorCode::invalid_argument, what);
}

void check(const CodecRates& rates) {
  check(rates.encode > 0 && rates.decode > 0 && rates.join > 0 && rates.scan > 0,
        "a rate of a codec is not above 0");
}

void check(const WireBits& bits) {
  check(bits.part > 0 && bits.partial > 0 && bits.result > 0, "bits of a value are not above 0");
}

void check(const Network& network) {
  check(network.latency_inside >= 0 && network.latency_across >= 0, "a latency is below 0");
  check(network.cpu_seconds_per_message >= 0, "the processor's time for a message is below 0");
  check(network.inside_bytes_per_second > 0 && network.across_bytes_per_second > 0 &&
            network.cpu_bytes_per_second > 0,
        "a rate of the network is not above 0");
}

void check(const Task& task) {
  constexpr double kMostRanks = 1 << 30;
  if (task.hosts < 1 || task.ranks_per_host < 1 ||
      static_cast<double>(task.hosts) * task.ranks_per_host > kMostRanks) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{} hosts with {} ranks each; allowed are 1 or more, and at most 2^30 "
                            "ranks",
                            task.hosts, task.ranks_per_host));
  }
  check(task.bytes >= 0, "the bytes of the vector are below 0");
  check(task.segment_bytes > 0, "the bytes of a segment are not above 0");
  check(task.phases_before >= 0, "the phases before are below 0");
  check(!(task.hierarchical && task.shape == Shape::exchange),
        "hierarchical cannot have exchange across hosts; allowed are direct, ring, tree and "
        "halving_doubling");
  check(task.coding.bits);
  check(task.coding.rates);
  check(task.inside.bits);
  check(task.inside.rates);
}

}  // namespace

Cost predict(const Network& network, const Task& task) {
  check(network);
  check(task);
  const Work work =
      task.hierarchical
          ? hierarchical_work(network, task)
          : flat_work(network, task, load_of(task.shape, task.hosts, task.ranks_per_host));
  // Not a whole number: a step would make more bytes take less time.
  const double segments = std::max(1.0, work.largest_message / task.segment_bytes);
  const double scan = task.phases_before > 0 ? task.bytes / task.coding.rates.scan : 0;
  const double codec = work.codec + segments * work.messages;
  const double first = work.path * ((work.wire + work.codec) / segments + work.messages);
  const double rest = (1 - 1 / segments) * std::max(work.wire, codec);
  const double before = task.phases_before * (work.latency + work.path * work.messages);
  const double latency = work.latency + before;
  return {latency + scan + first + rest, latency, work.wire, scan + codec, work.casts};
}

}  // namespace cpdcomm::schedule
