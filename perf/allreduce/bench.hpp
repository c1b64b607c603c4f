#pragma once

#include <mpi.h>

#include <functional>
#include <optional>
#include <vector>

#include "allreduce/buffer.hpp"
#include "allreduce/check.hpp"
#include "allreduce/contender.hpp"
#include "allreduce/inputs.hpp"
#include "allreduce/progress.hpp"

namespace cpdcomm::perf {

/// What a rank sends in one call.
struct WireBytes {
  double mean;     ///< over the ranks
  double largest;  ///< of the rank that sends most
};

/// One contender at one size; complete on rank 0.
struct Result {
  std::size_t size;  ///< bytes of the vector
  std::size_t count;
  int ranks;
  bool in_place;
  Contender contender;
  std::optional<Algorithm> taken = {};  ///< of the library
  std::optional<bool> compressed = {};  ///< of the library
  ScaleMemory memory = {};              ///< of delayed scaling, from call to call
  std::vector<double> times = {};       ///< microseconds, of each iteration
  std::vector<double> codec = {};       ///< of them in codecs; none of another library
  std::vector<double> wait = {};        ///< of them without work until a message comes
  std::optional<WireBytes> wire = {};   ///< none where the library that sends does not say
  std::optional<Verdict> verdict = {};  ///< none where nothing was checked
  std::optional<double> gain = {};      ///< none where nothing has FP32 on the wire

  double median() const;
  double smallest() const;
  double p99() const;  ///< nearest rank
  std::optional<double> median_codec() const;
  std::optional<double> median_wait() const;
  /// GB/s, as nccl-tests has them.
  double algbw() const;
  double busbw() const;
  std::optional<double> wirebw() const;
};

/// Changes a sum before it is checked; tests of the check have one.
using Spoiler = std::function<void(int rank, Buffer& sum)>;

/// Times contenders size by size. Every rank has one, and all make the same calls.
class Bench {
 public:
  Bench(const Options& options, const Inputs& inputs, Communicator& library, MPI_Comm ranks,
        const std::vector<Contender>& contenders, Progress& progress, const Spoiler& spoiler);

  /// All contenders at one size.
  std::vector<Result> run(std::size_t size);

 private:
  void fill_inputs();
  Report call(Result& of);
  void call_mpi(const Contender& contender, std::size_t count);
  void restore(std::size_t count);
  void timed_call(Result& result, bool is_kept);
  void check(Result& result);
  void time_in_turn(std::vector<Result>& results);
  bool time_is_over(double elapsed) const;
  void average(std::vector<double>& times) const;

  const Options& options_;
  const Inputs& inputs_;
  Communicator& library_;
  MPI_Comm comm_;
  const std::vector<Contender>& contenders_;
  Progress& progress_;
  const Spoiler& spoiler_;
  int rank_ = 0;
  int ranks_ = 0;
  Buffer in_;
  Buffer out_;
  std::uint32_t step_ = 0;  // each call draws random words of its own
};

}  // namespace cpdcomm::perf
