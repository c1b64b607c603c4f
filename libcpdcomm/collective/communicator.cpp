#include "cpdcomm/communicator.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <mutex>

#include "collective/aps.hpp"
#include "collective/choose.hpp"
#include "collective/engine.hpp"
#include "collective/request.hpp"
#include "cpdcomm/threads.hpp"
#include "reduction/float_reduction.hpp"
#include "reduction/plain.hpp"
#include "transport/threads.hpp"

namespace cpdcomm {
namespace {

using collective::Call;
using collective::Collective;
using collective::Layout;

// A cut moves back to a multiple of 8 values; those may stand in the segment before.
constexpr std::size_t kLargestSegment = collective::kLargestBody - 8 * 2 * sizeof(float);

std::size_t checked_segment(std::size_t asked) {
  if (asked == 0) return kLargestSegment;
  if (asked < 64 || asked > kLargestSegment) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("segment_bytes is {}; allowed is 64 to {}", asked, kLargestSegment));
  }
  return asked;
}

std::span<const void* const> parts_of(const Tensor& tensor, const void* const& own) {
  if (!tensor.nodes.empty()) return tensor.nodes;
  return {&own, 1};
}

bool holds_non_finite(const Tensor& tensor) {
  const auto any = [&]<typename T>(const T* values) {
    return std::any_of(values, values + tensor.count, [](T x) { return !std::isfinite(x); });
  };
  if (tensor.type == DataType::fp32) return any(static_cast<const float*>(tensor.data));
  if (tensor.type == DataType::fp64) return any(static_cast<const double*>(tensor.data));
  if (tensor.type != DataType::bf16 && tensor.type != DataType::fp16) return false;
  std::int16_t exponent = 0;
  const void* const data = tensor.data;
  collective::scale_exponents({&data, 1}, tensor.count, tensor.type, 0, 1, {&exponent, 1});
  return exponent == INT16_MAX;
}

}  // namespace

class Communicator::Impl {
 public:
  Impl(std::unique_ptr<transport::Transport> transport, const CommunicatorOptions& options)
      : transport_(std::move(transport)),
        engine_(*transport_),
        options_(options),
        segment_bytes_(checked_segment(options.segment_bytes)) {}

  int rank() const { return transport_->rank(); }
  int size() const { return transport_->size(); }

  Report allreduce(std::span<const Tensor> tensors, const AllreduceOptions& options) {
    const std::lock_guard lock(mutex_);
    const Algorithm algorithm = collective::choose(options.algorithm, size());
    Call call = collective::call_of(tensors, options, algorithm);
    Report report;
    report.algorithm = algorithm;
    take_part(call, options.timeout, report, [&](Run& run) {
      collective::check_request(tensors, options, size());
      run.schedule = collective::schedule_of(algorithm, rank(), size());
      reduce(tensors, options, run, report);
    });
    return report;
  }

  void broadcast(std::span<std::byte> bytes, int root) {
    const std::lock_guard lock(mutex_);
    Call call = call_of_bytes(Collective::broadcast, bytes.size());
    call.options_hash = static_cast<std::uint32_t>(root);
    Report report;
    take_part(call, {}, report, [&](Run& run) {
      if (root < 0 || root >= size()) {
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("root is {}; the ranks are 0 to {}", root, size() - 1));
      }
      run.schedule = schedule::broadcast(rank(), size(), root);
      reduction::Plain plain({{bytes.data(), bytes.data(), bytes.size(), DataType::uint8}},
                             ReduceOp::bit_or, size());
      run_engine(run, Layout::balanced(plain, 1, 1, segment_bytes_), plain);
    });
  }

  void allgather(std::span<const std::byte> mine, std::span<std::byte> all) {
    const std::lock_guard lock(mutex_);
    const Call call = call_of_bytes(Collective::allgather, mine.size());
    const auto ranks = static_cast<std::size_t>(size());
    Report report;
    take_part(call, {}, report, [&](Run& run) {
      if (all.size() != ranks * mine.size()) {
        throw Error(ErrorCode::invalid_argument,
                    fmt::format("allgather of {} bytes from {} ranks needs room for {}, not {}",
                                mine.size(), ranks, ranks * mine.size(), all.size()));
      }
      std::vector<reduction::PlainTensor> tensors;
      for (std::size_t i = 0; i < ranks; ++i) {
        std::byte* place = all.data() + i * mine.size();
        tensors.push_back({mine.data(), place, mine.size(), DataType::uint8});
      }
      run.schedule = schedule::allgather(rank(), size());
      reduction::Plain plain(std::move(tensors), ReduceOp::bit_or, size());
      run_engine(run, Layout::by_tensor(plain, segment_bytes_), plain);
    });
  }

  void barrier() {
    const std::lock_guard lock(mutex_);
    const Call call = call_of_bytes(Collective::barrier, 0);
    Report report;
    take_part(call, {}, report, [&](Run& run) {
      run.schedule = collective::schedule_of(collective::choose({}, size()), rank(), size());
      reduction::Plain nothing({}, ReduceOp::bit_or, size());
      run_engine(run, Layout::balanced(nothing, size(), size(), segment_bytes_), nothing);
    });
  }

  void refuse(const std::string& reason) {
    const std::lock_guard lock(mutex_);
    if (!dead_.empty()) return;
    Call call;
    call.sequence = ++sequence_;
    engine_.refuse(call, ErrorCode::invalid_argument, reason);
  }

  void abort() { engine_.abort(); }

 private:
  /// What the phases of one call share.
  struct Run {
    const Call& call;
    schedule::Schedule schedule;
    collective::Clock::time_point deadline;
    std::uint8_t phase = 0;
    collective::Times times;
  };

  static Call call_of_bytes(Collective collective, std::size_t bytes) {
    Call call;
    call.collective = collective;
    call.values = bytes;
    return call;
  }

  /// Counts the call, does the work, and sees to it that peers learn of a failure.
  template <typename Work>
  void take_part(Call call, std::chrono::milliseconds timeout, Report& report, Work&& work) {
    if (!dead_.empty()) {
      throw Error(ErrorCode::peer_failed, "this communicator is dead: " + dead_);
    }
    call.sequence = ++sequence_;
    const std::uint64_t sent = transport_->bytes_sent();
    // A year is as good as for ever, and adds up with the clock without an overflow.
    const auto limit = std::min<std::chrono::milliseconds>(
        timeout.count() > 0 ? timeout : options_.timeout, std::chrono::hours(24 * 365));
    Run run{call, {}, collective::Clock::now() + limit, 0, {}};
    try {
      work(run);
    } catch (const Error& error) {
      fail(call, error.code(), error.what());
      throw;
    } catch (const std::exception& error) {
      fail(call, ErrorCode::invalid_argument, error.what());
      throw;
    }
    report.wire_bytes = transport_->bytes_sent() - sent;
    report.codec_seconds = run.times.codec;
    report.wait_seconds = run.times.wait;
  }

  void fail(const Call& call, ErrorCode code, const std::string& reason) {
    if (code == ErrorCode::timeout || code == ErrorCode::peer_failed) dead_ = reason;
    try {
      engine_.refuse(call, code, reason);
    } catch (const Error&) {
      // The network is gone with the peers: the error under way says more.
    }
    if (!dead_.empty()) transport_->abandon();
  }

  void run_engine(Run& run, const Layout& layout, reduction::Reduction& reduction) {
    engine_.run({run.schedule, layout, reduction, run.call, run.phase, run.deadline}, run.times);
    ++run.phase;
  }

  Layout cut(const reduction::Reduction& reduction) const {
    return Layout::balanced(reduction, size(), size(), segment_bytes_);
  }

  void reduce(std::span<const Tensor> tensors, const AllreduceOptions& options, Run& run,
              Report& report) {
    std::vector<std::size_t> floats;
    std::vector<std::size_t> exact;
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const bool summed = collective::is_summed_as_float(tensors[i], options);
      (summed ? floats : exact).push_back(i);
      report.logical_bytes +=
          tensors[i].count * (summed ? sizeof(float) : size_of(tensors[i].type));
    }
    report.non_finite.assign(tensors.size(), false);
    // A call without tensors still meets its peers, so that a mismatch is found.
    if (!floats.empty() || exact.empty()) sum_floats(tensors, floats, options, run, report);
    if (!exact.empty()) reduce_exactly(tensors, exact, options, run, report);
  }

  void sum_floats(std::span<const Tensor> tensors, const std::vector<std::size_t>& which,
                  const AllreduceOptions& options, Run& run, Report& report) {
    const auto world =
        static_cast<std::uint64_t>(size()) * static_cast<std::uint64_t>(options.emulate_nodes);
    const std::vector<std::int16_t> exponents =
        agree_exponents(tensors, which, options, world, run);
    std::vector<reduction::FloatTensor> prepared;
    std::size_t used = 0;
    for (const std::size_t i : which) {
      const Tensor& tensor = tensors[i];
      const void* const own = tensor.data;
      const auto parts = parts_of(tensor, own);
      const std::size_t count = exponents_of(tensor, options);
      prepared.push_back({{parts.begin(), parts.end()},
                          tensor.data,
                          tensor.count,
                          tensor.type,
                          &codec::codec_for(collective::wire_of(tensor, options)),
                          std::span(exponents).subspan(used, count),
                          options.scaling.group});
      used += count;
    }
    const float divisor = options.op == ReduceOp::average ? static_cast<float>(world) : 1.0f;
    const auto reduction = reduction::make_float_reduction(options.accumulate, std::move(prepared),
                                                           run.schedule.parts_travel, divisor);
    run_engine(run, cut(*reduction), *reduction);
    for (std::size_t i = 0; i < which.size(); ++i) {
      report.non_finite[which[i]] = reduction->non_finite(i);
    }
  }

  static std::size_t exponents_of(const Tensor& tensor, const AllreduceOptions& options) {
    if (!collective::is_scaled(tensor, options)) return 0;
    return collective::exponent_count(tensor.count, options.scaling.group);
  }

  /// The exponents of all scaled tensors, as all ranks together find them: one MAX all-reduce.
  std::vector<std::int16_t> agree_exponents(std::span<const Tensor> tensors,
                                            const std::vector<std::size_t>& which,
                                            const AllreduceOptions& options, std::uint64_t world,
                                            Run& run) {
    std::vector<std::int16_t> exponents;
    const auto begin = collective::Clock::now();
    for (const std::size_t i : which) {
      const Tensor& tensor = tensors[i];
      const std::size_t count = exponents_of(tensor, options);
      if (count == 0) continue;
      const void* const own = tensor.data;
      exponents.resize(exponents.size() + count);
      collective::scale_exponents(parts_of(tensor, own), tensor.count, tensor.type,
                                  options.scaling.group, world, std::span(exponents).last(count));
    }
    if (exponents.empty()) return exponents;
    run.times.codec += std::chrono::duration<double>(collective::Clock::now() - begin).count();
    reduction::Plain maximum(
        {{exponents.data(), exponents.data(), exponents.size(), DataType::int16}}, ReduceOp::max,
        size());
    run_engine(run, cut(maximum), maximum);
    return exponents;
  }

  void reduce_exactly(std::span<const Tensor> tensors, const std::vector<std::size_t>& which,
                      const AllreduceOptions& options, Run& run, Report& report) {
    std::vector<reduction::PlainTensor> prepared;
    for (const std::size_t i : which) {
      const Tensor& tensor = tensors[i];
      prepared.push_back({tensor.data, tensor.data, tensor.count, tensor.type});
    }
    reduction::Plain plain(std::move(prepared), options.op, size());
    run_engine(run, cut(plain), plain);
    for (const std::size_t i : which) report.non_finite[i] = holds_non_finite(tensors[i]);
  }

  std::unique_ptr<transport::Transport> transport_;
  collective::Engine engine_;
  CommunicatorOptions options_;
  std::size_t segment_bytes_;
  std::uint64_t sequence_ = 0;
  std::string dead_;  // why, when it is
  std::mutex mutex_;
};

Communicator::Communicator(std::unique_ptr<transport::Transport> transport,
                           const CommunicatorOptions& options)
    : impl_(std::make_unique<Impl>(std::move(transport), options)) {}
Communicator::Communicator(Communicator&&) noexcept = default;
Communicator& Communicator::operator=(Communicator&&) noexcept = default;
Communicator::~Communicator() = default;

int Communicator::rank() const { return impl_->rank(); }
int Communicator::size() const { return impl_->size(); }

Report Communicator::allreduce(std::span<const Tensor> tensors, const AllreduceOptions& options) {
  return impl_->allreduce(tensors, options);
}

Report Communicator::allreduce(std::span<float> values, const AllreduceOptions& options) {
  const Tensor tensor{.data = values.data(), .count = values.size()};
  return impl_->allreduce({&tensor, 1}, options);
}

Report Communicator::allreduce(std::span<float> values, std::span<const std::size_t> ends,
                               const AllreduceOptions& options) {
  std::vector<Tensor> tensors;
  std::size_t begin = 0;
  for (const std::size_t end : ends) {
    if (end < begin || end > values.size()) break;
    tensors.push_back({.data = values.data() + begin, .count = end - begin});
    begin = end;
  }
  if (tensors.size() != ends.size() || begin != values.size()) {
    const std::string reason = fmt::format(
        "the ends of {} tensors in a buffer of {} values must ascend to {}: end {} is {}",
        ends.size(), values.size(), values.size(), tensors.size(),
        tensors.size() < ends.size() ? fmt::format("{}", ends[tensors.size()]) : "missing");
    refuse(reason);
    throw Error(ErrorCode::invalid_argument, reason);
  }
  return impl_->allreduce(tensors, options);
}

void Communicator::broadcast(std::span<std::byte> bytes, int root) {
  impl_->broadcast(bytes, root);
}
void Communicator::allgather(std::span<const std::byte> mine, std::span<std::byte> all) {
  impl_->allgather(mine, all);
}
void Communicator::barrier() { impl_->barrier(); }
void Communicator::refuse(const std::string& reason) { impl_->refuse(reason); }
void Communicator::abort() { impl_->abort(); }

std::vector<Communicator> make_thread_communicators(int ranks, const CommunicatorOptions& options) {
  std::vector<Communicator> communicators;
  for (auto& transport : transport::make_thread_transports(ranks)) {
    communicators.emplace_back(std::move(transport), options);
  }
  return communicators;
}

}  // namespace cpdcomm
