#include "collective/allreduce.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "collective/aps.hpp"
#include "collective/layout.hpp"
#include "collective/request.hpp"
#include "collective/wanted.hpp"
#include "numerics/scale_exponent.hpp"
#include "reduction/float_reduction.hpp"
#include "reduction/plain.hpp"

namespace cpdcomm::collective {
namespace {

/// One all-reduce on its way through its phases.
class Allreduce {
 public:
  Allreduce(Session& session, std::span<const Tensor> tensors, const AllreduceOptions& options,
            Run& run, Report& report)
      : session_(session),
        tensors_(tensors),
        options_(options),
        world_(static_cast<std::uint64_t>(session.size()) *
               static_cast<std::uint64_t>(options.emulate_nodes)),
        run_(run),
        report_(report) {}

  void operator()() {
    sort();
    // A call without tensors still meets its peers, so that a mismatch is found.
    if (!floats_.empty() || exact_.empty()) sum_floats();
    if (!exact_.empty()) reduce_exactly();
  }

 private:
  /// Which tensors travel in a wire format, and which as they are.
  void sort() {
    report_.non_finite.assign(tensors_.size(), false);
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      const Tensor& tensor = tensors_[i];
      const bool summed = is_summed_as_float(tensor, options_);
      (summed ? floats_ : exact_).push_back(i);
      report_.logical_bytes += tensor.count * (summed ? sizeof(float) : size_of(tensor.type));
    }
  }

  /// Where this rank's part is.
  static const void* own_part(const Tensor& tensor) {
    return tensor.input == nullptr ? tensor.data : tensor.input;
  }

  static std::span<const void* const> parts_of(const Tensor& tensor, const void* const& own) {
    if (!tensor.nodes.empty()) return tensor.nodes;
    return {&own, 1};
  }

  std::size_t exponents_of(const Tensor& tensor) const {
    if (!is_scaled(tensor, options_)) return 0;
    return exponent_count(tensor.count, options_.scaling.group);
  }

  /// The exponents of all scaled tensors as this rank finds them.
  std::vector<std::int16_t> own_exponents() {
    const auto begin = Clock::now();
    std::vector<std::int16_t> exponents;
    for (const std::size_t i : floats_) {
      const Tensor& tensor = tensors_[i];
      const std::size_t count = exponents_of(tensor);
      if (count == 0) continue;
      const void* const own = own_part(tensor);
      exponents.resize(exponents.size() + count);
      scale_exponents(parts_of(tensor, own), tensor.count, tensor.type, options_.scaling.group,
                      world_, std::span(exponents).last(count));
    }
    run_.times.codec += std::chrono::duration<double>(Clock::now() - begin).count();
    return exponents;
  }

  /// APS: the exponents as all ranks together find them, by one MAX all-reduce.
  void agree_on_exponents() {
    exponents_ = own_exponents();
    if (exponents_.empty()) return;
    reduction::Plain maximum(
        {{exponents_.data(), exponents_.data(), exponents_.size(), DataType::int16}}, ReduceOp::max,
        session_.size());
    run(maximum);
  }

  const schedule::Schedule& schedule() {
    if (run_.plan.one_hop) return session_.schedules().exchange();
    return session_.schedules().allreduce(run_.plan.algorithm, run_.plan.across);
  }

  void run(reduction::Reduction& reduction) {
    const Layout layout =
        Layout::balanced(reduction, session_.size(), schedule().chunks, run_.plan.segment_bytes);
    session_.run(run_, {{schedule(), layout, reduction}});
  }

  std::vector<reduction::FloatTensor> prepare_floats() const {
    std::vector<reduction::FloatTensor> prepared;
    std::size_t used = 0;
    for (const std::size_t i : floats_) {
      const Tensor& tensor = tensors_[i];
      const void* const own = own_part(tensor);
      const auto parts = parts_of(tensor, own);
      const std::size_t count = exponents_of(tensor);
      prepared.push_back({{parts.begin(), parts.end()},
                          tensor.data,
                          tensor.count,
                          tensor.type,
                          codec::codec_for(wire_of(tensor, options_)),
                          std::span(exponents_).subspan(used, count),
                          options_.scaling.group,
                          static_cast<std::uint32_t>(i)});
      used += count;
    }
    return prepared;
  }

  std::optional<RandomStream> random_words() const {
    if (options_.rounding != Rounding::stochastic) return std::nullopt;
    return RandomStream{.seed = options_.seed.value_or(0),
                        .step = options_.step,
                        .rank = static_cast<std::uint32_t>(session_.rank())};
  }

  void sum_floats() {
    agree_on_exponents();
    const float divisor = options_.op == ReduceOp::average ? static_cast<float>(world_) : 1.0f;
    const auto reduction = reduction::make_float_reduction(
        options_.accumulate, prepare_floats(), schedule().parts_travel, divisor, random_words());
    run(*reduction);
    for (std::size_t i = 0; i < floats_.size(); ++i) {
      report_.non_finite[floats_[i]] = reduction->non_finite(i);
    }
  }

  static bool holds_non_finite(const Tensor& tensor) {
    if (tensor.type == DataType::fp64) {
      const auto* values = static_cast<const double*>(tensor.data);
      return std::any_of(values, values + tensor.count, [](double x) { return !std::isfinite(x); });
    }
    if (!is_small_float(tensor.type)) return false;
    std::int16_t exponent = 0;
    const void* const data = tensor.data;
    scale_exponents({&data, 1}, tensor.count, tensor.type, 0, 1, {&exponent, 1});
    return exponent == numerics::kNonFinite;
  }

  void reduce_exactly() {
    std::vector<reduction::PlainTensor> prepared;
    for (const std::size_t i : exact_) {
      const Tensor& tensor = tensors_[i];
      prepared.push_back({own_part(tensor), tensor.data, tensor.count, tensor.type});
    }
    reduction::Plain plain(std::move(prepared), options_.op, session_.size());
    run(plain);
    for (const std::size_t i : exact_) report_.non_finite[i] = holds_non_finite(tensors_[i]);
  }

  Session& session_;
  std::span<const Tensor> tensors_;
  const AllreduceOptions& options_;
  std::uint64_t world_;  // ranks times emulated nodes
  Run& run_;
  Report& report_;
  std::vector<std::size_t> floats_;
  std::vector<std::size_t> exact_;
  std::vector<std::int16_t> exponents_;
};

}  // namespace

Report allreduce(Session& session, std::span<const Tensor> tensors,
                 const AllreduceOptions& options) {
  const Plan plan = session.plan(tensors, options);
  Report report;
  const Call call = call_of(tensors, options, options.algorithm);
  session.call(call, plan, options.timeout, report, [&](Run& run) {
    check_request(tensors, options, session.size());
    session.settle(run, tensors, options);
    report.algorithm = run.plan.algorithm;
    report.compressed = run.plan.compressed;
    if (run.plan.native()) return session.native(tensors, options, report);
    const Wanted wanted(tensors, options, run.plan.compressed);
    Allreduce(session, wanted.tensors(), wanted.options(), run, report)();
  });
  return report;
}

}  // namespace cpdcomm::collective
