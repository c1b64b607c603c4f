#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "support/soak.hpp"

namespace cpdcomm::testing {

/// What the soaking programs are told.
struct SoakOptions {
  std::uint64_t operations = 2000;
  std::uint32_t seed = 1;
  int ranks = 4;  ///< of thread ranks only
};

inline double in_mib(std::uint64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

inline void print_soak_help(const char* program) {
  std::printf(
      "Usage: %s [operations [seed [ranks]]]\n"
      "Makes so many mixed collectives (2000) on three communicators at once, drawn from a seed\n"
      "(1), on so many ranks that are threads (4; under mpirun: its processes). Every result is\n"
      "checked bit for bit, and the heap after a tenth of them against the heap at the end: it "
      "may\n"
      "grow by 1 MiB, or by half of one for each of more than two ranks that are threads.\n"
      "Ends with 0 if nothing was wrong and nothing grew, else with 1.\n\n"
      "  %s 20000\n"
      "  %s 500 7 3\n",
      program, program, program);
}

/// Ends the program with help where it is asked for or needed.
inline SoakOptions parse_soak_options(int argc, char** argv) {
  SoakOptions options;
  for (int i = 1; i < argc; ++i) {
    char* end = nullptr;
    const unsigned long long number = std::strtoull(argv[i], &end, 10);
    if (*end != '\0' || i > 3 || number < 1 || number > 1'000'000'000) {
      print_soak_help(argv[0]);
      const bool asked = std::strcmp(argv[i], "--help") == 0 || std::strcmp(argv[i], "-h") == 0;
      std::exit(asked ? 0 : 2);
    }
    if (i == 1) options.operations = number;
    if (i == 2) options.seed = static_cast<std::uint32_t>(number);
    if (i == 3) options.ranks = static_cast<int>(number);
  }
  return options;
}

/// Runs a tenth to warm up, then the rest, and prints what came of it.
/// @param ranks_here  in this process, on one heap
/// @param run  run(operations) makes so many operations on all ranks
/// @return the program's exit status
template <typename Run>
int report_soak(const SoakOptions& options, int ranks_here, Run&& run) {
  // Of 4 ranks that are threads: chance asks for a few more message buffers of 61 KiB late.
  const std::uint64_t most_growth = std::max(1, ranks_here / 2) * (std::uint64_t{1} << 20);
  const std::uint64_t warm_up = (options.operations + 9) / 10;
  SoakResult result = run(warm_up);
  const HeapUse before = heap_use();
  if (result.wrong == 0 && warm_up < options.operations) {
    result = run(options.operations - warm_up);
    result.operations += warm_up;
  }
  const HeapUse after = heap_use();
  std::printf(
      "%llu operations, %llu wrong; heap %.1f MiB after a tenth, %.1f MiB at the end; "
      "resident %.1f and %.1f MiB\n%s%s",
      static_cast<unsigned long long>(result.operations),
      static_cast<unsigned long long>(result.wrong), in_mib(before.allocated),
      in_mib(after.allocated), in_mib(before.resident), in_mib(after.resident),
      result.first_wrong.c_str(), result.wrong == 0 ? "" : "\n");
  const bool grew = after.allocated > before.allocated + most_growth;
  return result.wrong == 0 && !grew ? 0 : 1;
}

}  // namespace cpdcomm::testing
