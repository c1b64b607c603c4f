// What moves tensors as they are; all-gather also in a wire format, where that is asked for.
#include <algorithm>
#include <numeric>

#include "checks.hpp"
#include "start.hpp"
#include "tensors.hpp"

namespace cpdcomm::torch_adapter {
namespace {

using c10d::OpType;

void check_gathered(const at::Tensor& output, const at::Tensor& input, int ranks) {
  check_all_cpu({output, input});
  if (output.numel() == input.numel() * ranks && output.scalar_type() == input.scalar_type())
    return;
  throw Error(ErrorCode::invalid_argument, "all_gather_into_tensor's output must have " +
                                               std::to_string(ranks) +
                                               " times the input's values, in its dtype");
}

at::Tensor dense(const at::Tensor& tensor) {
  return tensor.detach().resolve_conj().resolve_neg().contiguous();
}

std::vector<std::size_t> sizes_in_bytes(const TensorList& tensors) {
  std::vector<std::size_t> sizes;
  for (const at::Tensor& tensor : tensors) sizes.push_back(tensor.nbytes());
  return sizes;
}

/// Views of consecutive rows, one for each rank.
/// @param rows  how many each has; empty: equally many
TensorList split_rows(const at::Tensor& tensor, const std::vector<std::int64_t>& rows, int ranks,
                      const char* what) {
  const std::int64_t all = tensor.dim() == 0 ? 1 : tensor.size(0);
  std::vector<std::int64_t> counts = rows;
  if (counts.empty()) counts.assign(static_cast<std::size_t>(ranks), all / ranks);
  const std::int64_t sum = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  const bool negative = std::ranges::any_of(counts, [](std::int64_t count) { return count < 0; });
  if (counts.size() != static_cast<std::size_t>(ranks) || sum != all || negative ||
      tensor.dim() == 0) {
    throw Error(ErrorCode::invalid_argument,
                std::string("all_to_all_single's ") + what + " has " + std::to_string(all) +
                    " rows, which its " + std::to_string(counts.size()) + " split sizes for " +
                    std::to_string(ranks) + " ranks must add up to");
  }
  return tensor.detach().split_with_sizes(counts);
}

}  // namespace

Backend::WorkPtr Backend::broadcast(Tensors& tensors, const c10d::BroadcastOptions& options) {
  validate([&] {
    check_one(tensors, "broadcast");
    check_all_cpu(tensors);
  });
  const int root = static_cast<int>(options.rootRank);
  const Milliseconds timeout = timeout_of(options.timeout);
  return start({OpType::BROADCAST, "cpd:broadcast"}, tensors, tensors,
               [this, tensors = tensors, root, timeout] {
                 const Contiguous own(tensors);
                 const Report report = communicator().broadcast(bytes_of(own[0]), root, timeout);
                 if (getRank() != root) own.copy_back();
                 return Done{report};
               });
}

/// What is gathered goes to one tensor, or to one for each rank.
Backend::WorkPtr Backend::start_allgather(const Name& name, Tensors outputs,
                                          std::vector<Gathering> gatherings,
                                          Milliseconds asked_timeout) {
  const Policy policy = in_force(policy_);
  Tensors inputs;
  for (Gathering& gathering : gatherings) {
    inputs.push_back(gathering.input);
    const bool wanted = policy.selection.all_gather && is_compressible(gathering.input);
    gathering.options = options_for(policy, wanted, ReduceOp::sum, gathering.input.nbytes());
    gathering.options.timeout = timeout_of(asked_timeout);
    draw_seed(gathering.options);
  }
  return start(name, inputs, std::move(outputs), [this, gatherings] {
    const at::NoGradGuard no_grad;
    Done done;
    for (const Gathering& gathering : gatherings) {
      const AllreduceOptions& options = gathering.options;
      const at::Tensor mine = dense(gathering.input);
      const at::Tensor all = at::empty({getSize(), mine.numel()}, mine.options());
      const bool low = !options.wire.is_fp32();
      const AllreduceOptions drawn = low ? with_draws(options) : options;
      const Report report =
          low ? communicator().allgather(mine.data_ptr(), tensor_of(all), drawn)
              : communicator().allgather(bytes_of(mine), bytes_of(all), options.timeout);
      if (low) count_draws(options);
      if (&gathering != &gatherings.back()) more_calls_follow();
      unflatten(all.view(-1), gathering.places);
      done.low_precision = done.low_precision || low;
      done.report.wire_bytes += report.wire_bytes;
      done.report.logical_bytes += all.nbytes();
    }
    return done;
  });
}

Backend::WorkPtr Backend::allgather(TensorLists& outputs, Tensors& inputs,
                                    const c10d::AllgatherOptions& options) {
  validate([&] {
    check_one(inputs, "allgather");
    check_all_cpu(inputs);
    check_lists(outputs, getSize(), inputs[0], "allgather", "output");
  });
  return start_allgather({OpType::ALLGATHER, "cpd:all_gather"}, outputs[0],
                         {{inputs[0], outputs[0]}}, options.timeout);
}

Backend::WorkPtr Backend::_allgather_base(at::Tensor& output, at::Tensor& input,
                                          const c10d::AllgatherOptions& options) {
  validate([&] { check_gathered(output, input, getSize()); });
  return start_allgather({OpType::_ALLGATHER_BASE, "cpd:all_gather"}, {output}, {{input, {output}}},
                         options.timeout);
}

Backend::WorkPtr Backend::allgather_coalesced(TensorLists& outputs, Tensors& inputs,
                                              const c10d::AllgatherOptions& options) {
  std::vector<Gathering> gatherings;
  Tensors places;
  validate([&] {
    check_all_cpu(inputs);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      Tensors of_ranks;
      for (const Tensors& of_rank : outputs) {
        if (i < of_rank.size()) of_ranks.push_back(of_rank[i]);
      }
      check_lists({of_ranks}, getSize(), inputs[i], "allgather_coalesced", "output");
      places.insert(places.end(), of_ranks.begin(), of_ranks.end());
      gatherings.push_back({inputs[i], of_ranks});
    }
  });
  return start_allgather({OpType::ALLGATHER_COALESCED, "cpd:all_gather"}, places, gatherings,
                         options.timeout);
}

Backend::WorkPtr Backend::allgather_into_tensor_coalesced(Tensors& outputs, Tensors& inputs,
                                                          const c10d::AllgatherOptions& options) {
  std::vector<Gathering> gatherings;
  validate([&] {
    check_as_many(outputs, inputs, "allgather_into_tensor_coalesced");
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      check_gathered(outputs[i], inputs[i], getSize());
      gatherings.push_back({inputs[i], {outputs[i]}});
    }
  });
  return start_allgather({OpType::ALLGATHER_COALESCED, "cpd:all_gather"}, outputs, gatherings,
                         options.timeout);
}

Backend::WorkPtr Backend::gather(TensorLists& outputs, Tensors& inputs,
                                 const c10d::GatherOptions& options) {
  const int root = static_cast<int>(options.rootRank);
  const bool is_root = getRank() == root;
  validate([&] {
    check_one(inputs, "gather");
    check_all_cpu(inputs);
    if (is_root) check_lists(outputs, getSize(), inputs[0], "gather", "output");
    if (!is_root) check_no_lists(outputs, "gather", "output");
  });
  const Tensors places = is_root ? outputs[0] : Tensors();
  const Milliseconds timeout = timeout_of(options.timeout);
  return start({OpType::GATHER, "cpd:gather"}, inputs, places,
               [this, places, input = inputs[0], root, timeout] {
                 const at::Tensor mine = dense(input);
                 const std::int64_t count = static_cast<std::int64_t>(places.size()) * mine.numel();
                 const at::Tensor all = at::empty({count}, mine.options());
                 const Report report =
                     communicator().gather(bytes_of(mine), bytes_of(all), root, timeout);
                 unflatten(all, places);
                 return Done{report};
               });
}

Backend::WorkPtr Backend::scatter(Tensors& outputs, TensorLists& inputs,
                                  const c10d::ScatterOptions& options) {
  const int root = static_cast<int>(options.rootRank);
  const bool is_root = getRank() == root;
  validate([&] {
    check_one(outputs, "scatter");
    check_all_cpu(outputs);
    if (is_root) check_lists(inputs, getSize(), outputs[0], "scatter", "input");
    if (!is_root) check_no_lists(inputs, "scatter", "input");
  });
  const Tensors parts = is_root ? inputs[0] : Tensors();
  const Milliseconds timeout = timeout_of(options.timeout);
  return start({OpType::SCATTER, "cpd:scatter"}, parts, outputs,
               [this, parts, outputs = outputs, root, timeout] {
                 const Contiguous own(outputs);
                 const at::Tensor all =
                     parts.empty() ? at::empty({0}, own[0].options()) : flatten(parts);
                 const Report report =
                     communicator().scatter(bytes_of(all), bytes_of(own[0]), root, timeout);
                 own.copy_back();
                 return Done{report};
               });
}

/// Tensors of any size, one to and one from each rank, of one dtype.
Report Backend::exchange(const Tensors& outputs, const Tensors& inputs, Milliseconds timeout) {
  const at::NoGradGuard no_grad;
  const at::Tensor to_all = flatten(inputs);
  std::int64_t count = 0;
  for (const at::Tensor& output : outputs) count += output.numel();
  const at::Tensor from_all = at::empty({count}, outputs[0].options());
  const Report report =
      communicator().alltoall(bytes_of(to_all), sizes_in_bytes(inputs), bytes_of(from_all),
                              sizes_in_bytes(outputs), timeout);
  unflatten(from_all, outputs);
  return report;
}

Backend::WorkPtr Backend::alltoall(Tensors& outputs, Tensors& inputs,
                                   const c10d::AllToAllOptions& options) {
  validate([&] {
    check_all_cpu(outputs);
    check_all_cpu(inputs);
    check_for_each_rank(outputs, getSize(), "all_to_all", "output");
    check_for_each_rank(inputs, getSize(), "all_to_all", "input");
    check_same_dtype(outputs[0], inputs[0], "all_to_all");
  });
  const Milliseconds timeout = timeout_of(options.timeout);
  return start({OpType::ALLTOALL, "cpd:all_to_all"}, inputs, outputs,
               [this, outputs = outputs, inputs = inputs, timeout] {
                 return Done{exchange(outputs, inputs, timeout)};
               });
}

Backend::WorkPtr Backend::alltoall_base(at::Tensor& output, at::Tensor& input,
                                        std::vector<std::int64_t>& output_sizes,
                                        std::vector<std::int64_t>& input_sizes,
                                        const c10d::AllToAllOptions& options) {
  Tensors from;
  Tensors to;
  validate([&] {
    check_all_cpu({output, input});
    check_same_dtype(output, input, "all_to_all_single");
    from = split_rows(output, output_sizes, getSize(), "output");
    to = split_rows(input, input_sizes, getSize(), "input");
  });
  const Milliseconds timeout = timeout_of(options.timeout);
  return start({OpType::ALLTOALL_BASE, "cpd:all_to_all"}, {input}, {output},
               [this, from, to, timeout] { return Done{exchange(from, to, timeout)}; });
}

Backend::WorkPtr Backend::barrier(const c10d::BarrierOptions& options) {
  const Milliseconds timeout = timeout_of(options.timeout);
  return start({OpType::BARRIER, "cpd:barrier"}, {}, {},
               [this, timeout] { return Done{communicator().barrier(timeout)}; });
}

}  // namespace cpdcomm::torch_adapter
