#pragma once

#include <array>
#include <string>

namespace cpdcomm::perf {

/// An option of nccl-tests that changes nothing here, so that its command lines run as they are.
struct NeutralOption {
  const char* flags;    ///< "-g,--ngpus"
  const char* allowed;  ///< the values that mean what this program does anyway: "0|1"
  const char* why;      ///< why there are no others
};

inline constexpr std::array kNeutralOptions{
    NeutralOption{"-g,--ngpus", "1", "a rank is a process: start more of them with mpirun -n"},
    NeutralOption{"-t,--nthreads", "1", "a rank is a process: start more of them with mpirun -n"},
    NeutralOption{"-m,--agg_iters", "1", "each call is timed by itself"},
    NeutralOption{"-N,--run_cycles", "1", "all sizes are measured once"},
    NeutralOption{"-p,--parallel_init", "0|1", "processes start side by side"},
    NeutralOption{"-r,--root", "0|all", "an all-reduce has no root"},
    NeutralOption{"-z,--blocking", "0|1|3", "a call begins with a barrier and is waited for"},
    NeutralOption{"-y,--stream_null", "0", "there are no CUDA streams"},
    NeutralOption{"-G,--cudagraph", "0", "there are no CUDA graphs"},
    NeutralOption{"-C,--report_cputime", "0", "a call's time is that from its begin to its end"},
    NeutralOption{"-S,--report_timestamps", "0", "lines have no timestamps"},
    NeutralOption{"-R,--local_register", "0", "buffers are not registered"},
    NeutralOption{"-x,--cta_policy", "0", "there is no GPU"},
    NeutralOption{"-D,--device_implementation", "0", "there is no GPU"},
    NeutralOption{"-V,--device_cta_count", "16", "there is no GPU"},
    NeutralOption{"-M,--memory", "0", "memory is not reported"},
    NeutralOption{"-u,--unalign", "0", "vectors are aligned"},
    NeutralOption{"-I,--per_iter_timing", "0",
                  "min and p99 are always there, and --format json has the time of every call"},
    NeutralOption{"-K,--per_iter_skip", "0", "-w says how many calls are not timed"},
};

/// What --help says of them.
inline std::string neutral_help() {
  std::string text =
      "\nnccl-tests' other options are taken with values that change nothing, and refused with "
      "others:\n";
  std::string line = " ";
  for (const NeutralOption& option : kNeutralOptions) {
    const std::string flags = option.flags;
    const std::string words = " " + flags.substr(0, flags.find(',')) + " " + option.allowed;
    if (line.size() + words.size() > 78) {
      text += line + "\n";
      line = " ";
    }
    line += words;
  }
  return text + line + "\n";
}

}  // namespace cpdcomm::perf
