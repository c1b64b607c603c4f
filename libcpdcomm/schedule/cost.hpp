#pragma once

#include <cstdint>

#include "cpdcomm/format.hpp"

namespace cpdcomm::schedule {

// What an all-reduce will take, in closed form: no schedule is played, so 65,536 ranks cost as
// little as two. Terms as in R. Thakur, R. Rabenseifner, W. Gropp (IJHPCA 19(1), 2005), with the
// codec beside latency and bandwidth.

/// The network as one rank sees it. Rates are payload: what TCP/IP adds is taken off before.
struct Network {
  double latency_inside;           ///< seconds from sending a message to its arrival, in a host
  double latency_across;           ///< the same between hosts
  double inside_bytes_per_second;  ///< of each rank, each way, inside a host
  double across_bytes_per_second;  ///< of each host's link, each way; its ranks share it
  double cpu_seconds_per_message;  ///< of a rank's processor, to send a message and receive one
  double cpu_bytes_per_second;     ///< sent to or received from other hosts, by a rank's processor
};

/// How fast one rank's codec is, in bytes of FP32 per second: 4 for each value.
struct CodecRates {
  double encode;  ///< values to bytes
  double decode;  ///< bytes to values
  double join;    ///< one received part or partial sum: decoded, added, encoded in one pass
  double scan;    ///< the pass for the largest magnitude, which exponents need
};

/// Bits on the wire for each value, scales with them.
struct WireBits {
  double part;
  double partial;
  double result;
};

/// How values travel.
struct Coding {
  WireBits bits;
  CodecRates rates;
};

/// The all-reduces of schedule.hpp.
enum class Shape : std::uint8_t { direct, ring, tree, halving_doubling, exchange };

/// One all-reduce.
struct Task {
  Shape shape;
  bool hierarchical;     ///< `shape` across hosts only, under `hierarchical`; not with exchange
  int hosts;             ///< at least 1, each with
  int ranks_per_host;    ///< at least 1; ranks are numbered host by host
  double bytes;          ///< of the vector in FP32
  Coding coding;         ///< of all messages; of a hierarchical one those between hosts
  Coding inside;         ///< of the messages inside a host of a hierarchical one
  double segment_bytes;  ///< on the wire, that are encoded and sent at once
  int phases_before;     ///< small all-reduces that must end first: 1 for shared exponents, else 0
};

/// A time and what it is made of. Wire and codec overlap as far as segments allow; in the tree the
/// first segment meets them once a level.
struct Cost {
  double seconds;
  double latency;  ///< messages on the way, one behind the other; the phases before included
  double wire;     ///< of the busiest link
  double codec;    ///< of a rank's processor, its work for messages included
  int casts;       ///< most casts of a value on its way; FP32 inside a host is none
};

/// Predicts the time of an all-reduce: the first segment goes all the way alone, through wire and
/// codec by turns; behind it the larger of wire and codec is what the rest waits for. Never less
/// for more bytes. Allocates nothing. Memory that ranks of a host share is not modelled, nor are
/// switches that carry less than all their links.
/// @throws Error invalid_argument for numbers that cannot be: no rank, no rate, no segment,
///         hierarchical exchange
Cost predict(const Network& network, const Task& task);

/// Rates of one core for a format: measured ones of the format itself or, of its kind, the one
/// with the nearest number of bits. From perf/results/2026-11-21-zen4/codec.json: AVX-512 with
/// VBMI, vectors of 64 MiB, which lie in memory and not in caches. FP32 costs a copy.
CodecRates builtin_codec_rates(Format format);

}  // namespace cpdcomm::schedule
