// The columns of the OSU micro-benchmarks, one block for each contender.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <numeric>

#include "allreduce/head.hpp"
#include "allreduce/writers.hpp"

namespace cpdcomm::perf {
namespace {

class Osu final : public Writer {
 public:
  void begin(const Run& run) override {
    fmt::print("{}", head_of(run));
    flush();
  }

  void end(const Run& run, const std::vector<Result>& all) override {
    std::vector<std::string> printed;
    for (const Result& result : all) {
      const std::string name = result.contender.name();
      if (std::ranges::find(printed, name) != printed.end()) continue;
      printed.push_back(name);
      print_block(name, all);
    }
    fmt::print("# Out of bounds values : {}\n", count_wrong(all));
    fmt::print("# Collective test concluded: {}\n", run.command.front());
    flush();
  }

 private:
  static void print_block(const std::string& name, const std::vector<Result>& all) {
    fmt::print("\n# OSU MPI Allreduce Latency Test: {}\n", name);
    fmt::print("# {:<8}{:>18}{:>18}{:>18}{:>12}\n", "Size", "Avg Latency(us)", "Min Latency(us)",
               "Max Latency(us)", "Iterations");
    for (const Result& r : all) {
      if (r.contender.name() != name) continue;
      const double sum = std::accumulate(r.times.begin(), r.times.end(), 0.0);
      fmt::print("{:<10}{:>18.2f}{:>18.2f}{:>18.2f}{:>12}\n", r.size,
                 sum / static_cast<double>(r.times.size()), r.smallest(), std::ranges::max(r.times),
                 r.times.size());
    }
  }
};

}  // namespace

std::unique_ptr<Writer> make_osu() { return std::make_unique<Osu>(); }

}  // namespace cpdcomm::perf
