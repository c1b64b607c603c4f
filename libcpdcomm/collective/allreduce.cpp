#include "collective/allreduce.hpp"

#include <vector>

#include "collective/call.hpp"
#include "collective/float_sums.hpp"
#include "collective/integer_sums.hpp"
#include "collective/request.hpp"
#include "collective/summing.hpp"
#include "collective/wanted.hpp"
#include "reduction/elements.hpp"
#include "reduction/plain.hpp"

namespace cpdcomm::collective {
namespace {

/// The tensors of a call, by how they are reduced: places in the call.
struct Sorted {
  std::vector<std::size_t> floats;
  std::vector<std::size_t> integers;
  std::vector<std::size_t> plain;
};

Sorted sort(std::span<const Tensor> tensors, const AllreduceOptions& options) {
  Sorted sorted;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    if (!is_summed_as_float(tensors[i], options)) {
      sorted.plain.push_back(i);
    } else if (is_summed_in_integers(tensors[i], options)) {
      sorted.integers.push_back(i);
    } else {
      sorted.floats.push_back(i);
    }
  }
  return sorted;
}

void begin_report(std::span<const Tensor> tensors, const AllreduceOptions& options,
                  Report& report) {
  report.non_finite.assign(tensors.size(), false);
  for (const Tensor& tensor : tensors) {
    const bool summed = is_summed_as_float(tensor, options);
    report.logical_bytes += tensor.count * (summed ? sizeof(float) : size_of(tensor.type));
  }
}

void reduce_plain(const Summing& call, std::span<const std::size_t> places) {
  std::vector<reduction::PlainTensor> prepared;
  for (const std::size_t i : places) {
    const Tensor& tensor = call.tensors[i];
    prepared.push_back({own_part(tensor), tensor.data, tensor.count, tensor.type});
  }
  reduction::Plain plain(std::move(prepared), call.options.op, call.session.size());
  run_alone(call, plain);
  for (const std::size_t i : places) {
    const Tensor& tensor = call.tensors[i];
    call.report.non_finite[i] = reduction::holds_non_finite(tensor.data, tensor.type, tensor.count);
  }
}

void sum(const Summing& call) {
  const Sorted sorted = sort(call.tensors, call.options);
  if (!sorted.integers.empty()) sum_integers(call, sorted.integers);
  if (!sorted.plain.empty()) reduce_plain(call, sorted.plain);
  // A call without tensors still meets its peers, so that a mismatch is found.
  const bool nothing = sorted.integers.empty() && sorted.plain.empty();
  if (!sorted.floats.empty() || nothing) sum_floats(call, sorted.floats);
}

}  // namespace

Report allreduce(Session& session, std::span<const Tensor> tensors,
                 const AllreduceOptions& options) {
  const auto plan = [&] { return session.plan(tensors, options); };
  Report report;
  const Call call = call_of(tensors, options);
  session.call(call, plan, options.timeout, report, [&](Run& run) {
    check_request(tensors, options, session.size());
    session.settle(run, tensors, options);
    report.algorithm = run.plan.algorithm;
    report.compressed = run.plan.compressed;
    report.saturated.assign(tensors.size(), false);
    if (run.plan.native()) return session.native(tensors, options, report);
    begin_report(tensors, options, report);
    const Wanted wanted(tensors, options, run.plan.compressed);
    sum({session, run, wanted.tensors(), wanted.options(), report});
  });
  return report;
}

}  // namespace cpdcomm::collective
