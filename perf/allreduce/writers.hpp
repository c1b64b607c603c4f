#pragma once

#include <memory>
#include <string>
#include <vector>

#include "allreduce/bench.hpp"
#include "allreduce/contender.hpp"
#include "allreduce/options.hpp"

namespace cpdcomm::perf {

/// Where one rank runs.
struct Place {
  std::string host;
  int process;
  int core;  ///< at the start
};

/// What a report says beside the results.
struct Run {
  Options options;
  std::vector<std::string> command;
  std::string date;
  std::string mpi;    ///< the library's own words
  std::string input;  ///< what the values are
  std::vector<Place> places;
  std::vector<LeftOut> left_out;
};

/// Writes what was measured, on rank 0.
class Writer {
 public:
  virtual ~Writer() = default;
  virtual void begin(const Run& /*run*/) {}
  /// The results of one more size.
  virtual void size_done(const std::vector<Result>& /*results*/) {}
  /// @param all  the results of all sizes
  virtual void end(const Run& /*run*/, const std::vector<Result>& /*all*/) {}
};

/// The one that the options ask for on stdout.
std::unique_ptr<Writer> make_writer(Options::Output output);
/// JSON into a file, after each size what is there so far.
/// @throws Error invalid_argument when the file cannot be written
std::unique_ptr<Writer> make_json_file(const std::string& path);

std::unique_ptr<Writer> make_table();
std::unique_ptr<Writer> make_csv();
std::unique_ptr<Writer> make_json();
std::unique_ptr<Writer> make_osu();

/// Hands over what was printed.
/// @throws std::runtime_error when nobody takes it: results that are lost are no success
void flush();

/// The number of wrong values in all of them.
std::uint64_t count_wrong(const std::vector<Result>& results);

}  // namespace cpdcomm::perf
