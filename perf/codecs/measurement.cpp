#include "codecs/measurement.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "common/machine.hpp"

namespace cpdcomm::perf {
namespace {

/// 0 where a filter leaves out what only Google Benchmark knows.
std::size_t runs_of(const Options& options, std::size_t cases, std::size_t threads) {
  if (!benchmark::GetBenchmarkFilter().empty()) return 0;
  return cases * threads * static_cast<std::size_t>(options.repetitions);
}

}  // namespace

Measurement::Measurement(const Options& options, const std::vector<Case>& cases,
                         std::vector<int> cores)
    : cores_(std::move(cores)),
      work_(std::ranges::max(options.values)),
      progress_(runs_of(options, cases.size(), options.threads.size())) {
  for (const Case& of : cases) {
    auto* registered = benchmark::RegisterBenchmark(
        of.name().c_str(), [of, this](benchmark::State& state) { measure(state, of); });
    for (const int threads : options.threads) registered->Threads(threads);
    registered->UseRealTime();
  }
}

std::size_t Measurement::run(benchmark::BenchmarkReporter& reporter) {
  return benchmark::RunSpecifiedBenchmarks(&reporter);
}

void Measurement::measure(benchmark::State& state, const Case& of) {
  const int thread = state.thread_index();
  if (thread == 0) {
    progress_.begin(fmt::format("{}/{}", of.name(), state.threads()), state.max_iterations);
  }
  const Pinned pinned(cores_[static_cast<std::size_t>(thread)]);
  const codec::Codec codec = codec::codec_for(of.format);
  if (of.kernel.reads_packed) work_.pack(codec, of.values);
  const Slice slice = slice_of(of.values, codec.alignment(), thread, state.threads());
  CastOptions cast;
  if (of.kernel.stochastic) cast.stochastic = RandomStream{};
  const Pass pass{codec, cast, work_, of.values, slice};
  of.kernel.run(pass);  // the caches and the clock warm up
  for (auto _ : state) {
    of.kernel.run(pass);
    benchmark::ClobberMemory();
  }
  state.SetBytesProcessed(state.iterations() *
                          static_cast<std::int64_t>(slice.count * sizeof(float)));
}

}  // namespace cpdcomm::perf
