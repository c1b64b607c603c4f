#pragma once

namespace cpdcomm::perf {

// What --help says before and after the options.

inline constexpr const char* kAbout =
    R"(Predicts the time of all-reduces: which algorithm and which format win on a network.

Nothing is sent. A model in closed form (libcpdcomm/schedule/cost.hpp) takes latency, the rate of
the links and that of the codecs, so 65,536 ranks take as long as two: microseconds.)";

inline constexpr const char* kExamples = R"(
columns of the table:
  *          the fastest of its network, ranks and size
  size       of the vector in FP32
  format     what travels; algorithm: who sends what to whom (hierarchical_ring: sums inside
             hosts first, then a ring across them)
  time       predicted. latency: messages on the way one behind the other, and the small all-reduce
             for shared exponents; wire: the busiest link's time; codec: a rank's own work. Wire and
             codec overlap where a vector has many segments
  casts      most roundings of a value: where there are many, few bits become wrong
  gain       time of the fastest FP32 / time
CSV and JSON have all algorithms, times in microseconds, and name the fastest.

what the model does not know:
  memory and cores that ranks of a host share; switches that carry less than all their links at
  once; other traffic. The rates of the codecs are those of one core of one machine
  (perf/results/2026-11-21-zen4/codec.json, vectors in memory): measure yours with cpd-codec-perf.

examples:
  cpd-simulate                                       10 Gbit/s, 4 to 65536 ranks
  cpd-simulate --network 1gbit,100gbit --ranks 8,64 --sizes 25M --wire fp32,e4m3,bfp8
  cpd-simulate --ranks 64,1024 --ranks-per-host 8 --all
  cpd-simulate --network host --ranks 8              all ranks on one host
  cpd-simulate --latency 50us --codec-rate e4m3=8/7/3 -J simulation.json
  perf/simulate simulation.json                      draws it

exit codes: 0 predicted, 2 bad usage or another error)";

}  // namespace cpdcomm::perf
