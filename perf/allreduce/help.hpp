#pragma once

namespace cpdcomm::perf {

// What --help says before and after the options.

inline constexpr const char* kAbout =
    R"(Times all-reduces in many wire formats beside MPI_Allreduce, and checks every sum.

Runs under mpirun or srun. All contenders of a size take turns, call by call, so that a machine or a
network that becomes slower or faster meets all alike. The options and columns that nccl-tests has
mean the same here.)";

inline constexpr const char* kExamples = R"(
columns, after those of nccl-tests (whose "time" is here the median over the iterations):
  wire algorithm accumulate scaling rounding
               the contender; algorithm mpi is MPI_Allreduce. Of automatic the one taken: native
               is MPI's own all-reduce, e4m3>fp32 that it did not pay to compress. Of
               hierarchical, what is between hosts and inside: hierarchical:ring:fp32. exact:wire
               is exact whose result is cast to the wire format
  min, p99     of the time; with fewer than 100 iterations p99 is the largest
  wireB        bytes that a rank sends in one call, the mean over the ranks
  wirebw       wireB / time
  gain         time of the fastest contender with FP32 on the wire / time: above 1 it pays
  rel_rms      root mean square of the error relative to that of the sum in double precision
  max_error    the largest error
  checked      what #wrong counts: values that are not, bit for bit, what a serial sum in the same
               order with the plain codecs gives (bits), or farther from the sum in double
               precision than rounding can explain (bound); always values that differ between
               ranks (ranks: only those; where casts are random, and of hierarchical, unless sums
               are exact)
  codec, wait  with --breakdown: of the time, the median in codecs (over all threads of a rank)
               and without work until a message came

wire formats:
  fp32           all bits
  bf16 fp16 eXmY floats of 1 + X + Y bits, such as e5m2, e4m3, e3m0; e4m3fn, e3m2fn, e2m3fn, e2m1fn
  bfpK bfpK:B    K-bit integers with an exponent for every B (64) values
  mxfp8e4m3 mxfp8e5m2 mxfp6e3m2 mxfp6e2m3 mxfp4 mxint8    OCP microscaling
  intK intK:B sign sign:B    K bits, or 1, with an FP32 scale for every B (512) values

examples:
  mpirun -n 4 cpd-allreduce-perf -b 1K -e 64M -f 4 --wire fp32,e5m2,e4m3,e3m0 --baseline mpi
  mpirun -n 4 cpd-allreduce-perf -b 4M -e 4M --wire e4m3,bfp8,mxfp4 --algorithm direct,ring
  mpirun -n 4 cpd-allreduce-perf -b 1M -e 1M --wire e4m3,e3m0 --scaling none,aps,aps:512 \
      --input gradients --format csv > accuracy.csv
  mpirun -n 4 cpd-allreduce-perf -b 16M -e 16M --wire bfp8,int8 --accumulate wide,exact \
      --result full,wire --algorithm direct,ring,tree --breakdown
  mpirun -n 4 cpd-allreduce-perf -b 1K -e 256M -f 4 --wire fp32,e4m3 --algorithm automatic
  mpirun -n 16 cpd-allreduce-perf --wire e4m3 --algorithm hierarchical --across direct,ring \
      --inner fp32,wire
  mpirun -n 4 cpd-allreduce-perf -b 4M -e 4M --transport ucx --shared-memory off
  mpirun -n 4 cpd-allreduce-perf --wire sign --accumulate majority --codec-threads 2
  srun -n 16 cpd-allreduce-perf -b 1K -e 256M -f 2 --time-limit 10 -J cluster.json

More ranks than cores, as root:
  mpirun --oversubscribe --bind-to none --mca mpi_yield_when_idle 1 --allow-run-as-root -n 8 ...

exit codes: 0 all sums are right, 1 one is wrong, 2 bad usage or another error)";

}  // namespace cpdcomm::perf
