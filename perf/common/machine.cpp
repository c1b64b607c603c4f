#include "common/machine.hpp"

#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <sstream>
#include <string_view>

namespace cpdcomm::perf {
namespace {

/// The first value of a key in /proc/cpuinfo.
std::string cpuinfo(std::string_view key) {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key)) continue;
    const std::size_t value = line.find_first_not_of(" \t", line.find(':') + 1);
    return value == std::string::npos ? std::string() : line.substr(value);
  }
  return {};
}

void run_on(const std::vector<int>& cores) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int core : cores) CPU_SET(static_cast<std::size_t>(core), &set);
  pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

}  // namespace

std::string cpu_model() {
  const std::string model = cpuinfo("model name");
  return model.empty() ? "unknown" : model;
}

std::string instruction_sets() {
  constexpr std::array<std::string_view, 9> kFamilies{"sse",  "ssse3", "avx", "fma", "bmi2",
                                                      "gfni", "asimd", "sve", "amx"};
  std::istringstream flags(cpuinfo("flags") + " " + cpuinfo("Features"));
  std::string known;
  for (std::string flag; flags >> flag;) {
    const auto is_start = [&](std::string_view family) { return flag.starts_with(family); };
    if (std::ranges::none_of(kFamilies, is_start)) continue;
    known += (known.empty() ? "" : " ") + flag;
  }
  return known;
}

std::vector<int> usable_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  pthread_getaffinity_np(pthread_self(), sizeof set, &set);
  std::vector<int> cores;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (CPU_ISSET(static_cast<std::size_t>(core), &set)) cores.push_back(core);
  }
  return cores;
}

Pinned::Pinned(int core) : before_(usable_cores()) { run_on({core}); }
Pinned::~Pinned() { run_on(before_); }

}  // namespace cpdcomm::perf
