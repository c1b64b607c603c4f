// What sums: the one place where torch.distributed's own calls may travel in a wire format.
#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <array>
#include <functional>

#include "checks.hpp"
#include "start.hpp"
#include "tensors.hpp"

namespace cpdcomm::torch_adapter {
namespace {

using c10d::OpType;

/// torch's operator for tensors of one type. Of bools, sums and products are "or" and "and".
ReduceOp op_of(const c10d::ReduceOp& op, bool is_bool) {
  switch (static_cast<c10d::ReduceOp::RedOpType>(op)) {
    case c10d::ReduceOp::SUM:
      return is_bool ? ReduceOp::max : ReduceOp::sum;
    case c10d::ReduceOp::PRODUCT:
      return is_bool ? ReduceOp::min : ReduceOp::product;
    case c10d::ReduceOp::AVG:
      return ReduceOp::average;
    case c10d::ReduceOp::MIN:
      return ReduceOp::min;
    case c10d::ReduceOp::MAX:
      return ReduceOp::max;
    case c10d::ReduceOp::BAND:
      return ReduceOp::bit_and;
    case c10d::ReduceOp::BOR:
      return ReduceOp::bit_or;
    case c10d::ReduceOp::BXOR:
      return ReduceOp::bit_xor;
    default:
      throw Error(ErrorCode::unsupported,
                  "backend cpd reduces with SUM, AVG, PRODUCT, MIN, MAX, BAND, BOR and BXOR");
  }
}

/// Complex numbers have no order, no bits, and no product part by part.
void check_complex(const at::Tensor& tensor, const c10d::ReduceOp& op) {
  if (!tensor.is_complex() || op == c10d::ReduceOp::SUM || op == c10d::ReduceOp::AVG) return;
  throw Error(ErrorCode::unsupported,
              "a tensor of dtype " + dtype_name(tensor) + " is reduced with SUM and AVG alone");
}

/// The operator for a call's tensors.
/// @throws Error unsupported, also where one of them cannot be reduced
ReduceOp op_for(const c10d::ReduceOp& op, const std::vector<at::Tensor>& tensors) {
  const auto is_bool = [](const at::Tensor& tensor) { return tensor.scalar_type() == at::kBool; };
  for (const at::Tensor& tensor : tensors) {
    static_cast<void>(data_type_of(tensor));
    check_complex(tensor, op);
  }
  const auto bools = std::ranges::count_if(tensors, is_bool);
  if (bools != 0 && static_cast<std::size_t>(bools) != tensors.size()) {
    throw Error(
        ErrorCode::invalid_argument,
        "a call reduces bool tensors, by \"or\" and \"and\", or tensors of other dtypes; it "
        "has " +
            std::to_string(bools) + " of " + std::to_string(tensors.size()) + " of bool");
  }
  return op_of(op, bools != 0);
}

/// Whether any value of a call travels in a wire format.
bool is_low_precision(const std::vector<Tensor>& tensors, const AllreduceOptions& options) {
  if (options.op != ReduceOp::sum && options.op != ReduceOp::average) return false;
  for (const Tensor& tensor : tensors) {
    const bool is_float = tensor.type == DataType::fp32 || tensor.type == DataType::bf16 ||
                          tensor.type == DataType::fp16;
    if (is_float && tensor.count != 0 && !tensor.wire.value_or(options.wire).is_fp32()) return true;
  }
  return false;
}

/// A word of torch's default CPU generator, the one that torch.manual_seed sets.
std::uint32_t draw_word() {
  at::Generator generator = at::detail::getDefaultCPUGenerator();
  const std::lock_guard lock(generator.mutex());
  return at::check_generator<at::CPUGeneratorImpl>(generator)->random();
}

/// The same on all ranks whose sparse tensors fit each other.
std::int64_t hash_of_shape(const at::Tensor& tensor) {
  std::string text = dtype_name(tensor) + "/" + std::to_string(tensor.sparse_dim());
  for (const std::int64_t size : tensor.sizes()) text += "," + std::to_string(size);
  return static_cast<std::int64_t>(std::hash<std::string>()(text));
}

std::int64_t hash_of_sizes(const std::vector<std::int64_t>& sizes) {
  std::string text;
  for (const std::int64_t size : sizes) text += std::to_string(size) + ",";
  return static_cast<std::int64_t>(std::hash<std::string>()(text));
}

/// One row for each tensor, filled up with zeros.
at::Tensor padded_rows(const std::vector<at::Tensor>& tensors, std::int64_t length) {
  const at::NoGradGuard no_grad;
  const auto count = static_cast<std::int64_t>(tensors.size());
  const at::Tensor rows = at::zeros({count, length}, tensors[0].options());
  for (std::int64_t i = 0; i < count; ++i) {
    const at::Tensor& tensor = tensors[static_cast<std::size_t>(i)];
    rows[i].narrow(0, 0, tensor.numel()).copy_(tensor.detach().reshape(-1));
  }
  return rows;
}

void check_scattered(const at::Tensor& output, const at::Tensor& input, int ranks) {
  if (input.numel() == output.numel() * ranks && input.scalar_type() == output.scalar_type())
    return;
  throw Error(ErrorCode::invalid_argument, "reduce_scatter's input must have " +
                                               std::to_string(ranks) +
                                               " times the output's values, in its dtype");
}

}  // namespace

/// Rank 0 draws a seed where the group needs one: once, on the caller's thread, so that it has its
/// place among what else the caller draws.
void Backend::draw_seed(const AllreduceOptions& options) {
  if (options.rounding != Rounding::stochastic || options.seed || getRank() != 0) return;
  const std::lock_guard lock(mutex_);
  if (!drawn_) drawn_ = draw_word();
}

/// The seed that rank 0 drew. In an allgather every rank meets every other, so that all of them
/// learn of one that refuses; the root of a broadcast would not.
std::uint32_t Backend::agreed_seed(Milliseconds timeout) {
  if (seed_) return *seed_;
  std::uint32_t mine = 0;
  {
    const std::lock_guard lock(mutex_);
    mine = drawn_.value_or(0);
  }
  std::vector<std::uint32_t> all(static_cast<std::size_t>(getSize()));
  communicator().allgather(std::as_bytes(std::span(&mine, 1)),
                           std::as_writable_bytes(std::span(all)), timeout);
  more_calls_follow();
  seed_ = all.front();
  return *seed_;
}

/// On the group's thread: the seed and step of a call that rounds stochastically.
AllreduceOptions Backend::with_draws(AllreduceOptions options) {
  if (options.rounding != Rounding::stochastic) return options;
  if (!options.seed) options.seed = agreed_seed(options.timeout);
  options.step = step_;
  return options;
}

/// A step counts when it is done: a call that one rank refuses fails on all of them, and none has
/// counted it.
void Backend::count_draws(const AllreduceOptions& options) {
  if (options.rounding == Rounding::stochastic) ++step_;
}

Report Backend::allreduce_now(const std::vector<Tensor>& tensors, AllreduceOptions options) {
  options = with_draws(std::move(options));
  Report report = communicator().allreduce(tensors, options);
  count_draws(options);
  return report;
}

/// The tensors of one call, those apart that must stay exact beside others that need not: a count
/// among gradients. What is exact by its type goes with either.
std::vector<Backend::Part> Backend::parts_of(const Tensors& tensors, ReduceOp op) const {
  const Policy policy = in_force(policy_);
  const auto options_of = [&](std::size_t bytes) {
    return options_for(policy, policy.selection.all_reduce, op, bytes);
  };
  Part low{{}, options_of(SIZE_MAX)};
  if (is_lossless(low.options)) return {{tensors, low.options}};
  Part rest{{}, exact_options(policy, op)};
  bool apart = false;
  for (const at::Tensor& tensor : tensors) {
    const bool is_low = is_compressible(tensor) && !is_lossless(options_of(tensor.nbytes()));
    (is_low ? low : rest).tensors.push_back(tensor);
    apart = apart || (!is_low && (is_compressible(tensor) || tensor.is_complex()));
  }
  if (low.tensors.empty()) return {{tensors, rest.options}};
  if (!apart) return {{tensors, low.options}};
  return {low, rest};
}

Done Backend::reduce_now(const Part& part) {
  const Contiguous dense(part.tensors);
  std::vector<Tensor> described = tensors_of(dense);
  if (is_low_precision(described, part.options)) {
    described = noted_parts_of(part.tensors, dense);
  }
  const Report report = allreduce_now(described, part.options);
  dense.copy_back();
  return Done{report, is_low_precision(described, part.options)};
}

Backend::WorkPtr Backend::start_reduce(const Name& name, Tensors tensors, const c10d::ReduceOp& op,
                                       Milliseconds timeout) {
  std::vector<Part> parts;
  validate([&] {
    check_all_cpu(tensors);
    parts = parts_of(tensors, op_for(op, tensors));
  });
  for (Part& part : parts) {
    limit(part.options, timeout);
    draw_seed(part.options);
  }
  return start(name, tensors, tensors, [this, parts] {
    Done done;
    for (const Part& part : parts) {
      if (&part != &parts.front()) more_calls_follow();
      done.add(reduce_now(part));
    }
    return done;
  });
}

Backend::WorkPtr Backend::allreduce(Tensors& tensors, const c10d::AllreduceOptions& options) {
  if (tensors.size() == 1 && tensors[0].defined() && tensors[0].is_sparse()) {
    return allreduce_sparse(tensors, options);
  }
  validate([&] { check_one(tensors, "allreduce"); });
  return start_reduce({OpType::ALLREDUCE, "cpd:all_reduce"}, tensors, options.reduceOp,
                      options.timeout);
}

Backend::WorkPtr Backend::allreduce_coalesced(Tensors& tensors,
                                              const c10d::AllreduceCoalescedOptions& options) {
  return start_reduce({OpType::ALLREDUCE_COALESCED, "cpd:all_reduce"}, tensors, options.reduceOp,
                      options.timeout);
}

/// Sparse tensors, exactly: every rank collects all and adds them up.
Backend::WorkPtr Backend::allreduce_sparse(Tensors& tensors,
                                           const c10d::AllreduceOptions& options) {
  validate([&] {
    check_one(tensors, "allreduce_sparse");
    check_sparse(tensors[0], options.reduceOp);
  });
  const at::Tensor tensor = tensors[0];
  const Milliseconds timeout = timeout_of(options.timeout);
  return start({OpType::_ALLREDUCE_SPARSE, "cpd:all_reduce_sparse"}, tensors, tensors,
               [this, tensor, timeout] {
                 const at::NoGradGuard no_grad;
                 return Done{sum_sparse(tensor, timeout)};
               });
}

Report Backend::sum_sparse(const at::Tensor& tensor, Milliseconds timeout) {
  const at::Tensor mine = tensor.detach().coalesce();
  const auto ranks = static_cast<std::size_t>(getSize());
  const std::int64_t count = mine._nnz();
  const std::array<std::int64_t, 2> facts = {count, hash_of_shape(mine)};
  std::vector<std::array<std::int64_t, 2>> of_all(ranks);
  Report report = communicator().allgather(std::as_bytes(std::span(facts)),
                                           std::as_writable_bytes(std::span(of_all)), timeout);
  std::vector<std::int64_t> counts;
  for (const auto& [rows, hash] : of_all) {
    if (hash != of_all.front()[1]) {
      throw Error(
          ErrorCode::mismatch,
          "allreduce_sparse: the ranks' tensors differ in shape, sparse dimensions or dtype");
    }
    counts.push_back(rows);
  }
  more_calls_follow();
  // As many rows from every rank as the longest has; what is too much is dropped again.
  const std::int64_t most = *std::max_element(counts.begin(), counts.end());
  const auto collect = [&](const at::Tensor& rows) {
    auto shape = rows.sizes().vec();
    shape[0] = most;
    at::Tensor padded = at::zeros(shape, rows.options());
    padded.narrow(0, 0, count).copy_(rows);
    shape.insert(shape.begin(), getSize());
    const at::Tensor all = at::empty(shape, rows.options());
    const Report part = communicator().allgather(bytes_of(padded), bytes_of(all), timeout);
    report.wire_bytes += part.wire_bytes;
    std::vector<at::Tensor> kept;
    for (std::size_t rank = 0; rank < ranks; ++rank) {
      kept.push_back(all[static_cast<std::int64_t>(rank)].narrow(0, 0, counts[rank]));
    }
    return at::cat(kept);
  };
  const at::Tensor indices = collect(mine.indices().t().contiguous());
  more_calls_follow();
  const at::Tensor values = collect(mine.values().contiguous());
  report.logical_bytes = mine.values().nbytes();
  // Not into a detached copy, whose indices would be its own.
  at::Tensor(tensor).copy_(at::sparse_coo_tensor(indices.t(), values, mine.sizes()).coalesce());
  return report;
}

Backend::WorkPtr Backend::reduce(Tensors& tensors, const c10d::ReduceOptions& options) {
  ReduceOp op = ReduceOp::sum;
  validate([&] {
    check_one(tensors, "reduce");
    check_all_cpu(tensors);
    op = op_for(options.reduceOp, tensors);
  });
  const int root = static_cast<int>(options.rootRank);
  const Milliseconds timeout = timeout_of(options.timeout);
  return start({OpType::REDUCE, "cpd:reduce"}, tensors, tensors,
               [this, tensors = tensors, op, root, timeout] {
                 const Contiguous dense(tensors);
                 const Report report = communicator().reduce(tensors_of(dense), root, op, timeout);
                 if (getRank() == root) dense.copy_back();
                 return Done{report};
               });
}

/// @throws Error invalid_argument, unsupported
Backend::Scattering Backend::scattering_of(const at::Tensor& input, const at::Tensor& output,
                                           const c10d::ReduceScatterOptions& asked) const {
  check_all_cpu({input, output});
  check_scattered(output, input, getSize());
  const Policy policy = in_force(policy_);
  const bool wanted = policy.selection.reduce_scatter && is_compressible(input);
  const ReduceOp op = op_for(asked.reduceOp, {input});
  AllreduceOptions options = options_for(policy, wanted, op, output.nbytes());
  options.timeout = timeout_of(asked.timeout);
  return {input, output, options};
}

/// @param more  whether the operation goes on with another one
Done Backend::scatter_now(const Scattering& scattering, bool more) {
  ExplicitCall call;
  call.tensors = {scattering.input};
  call.outputs = {scattering.output};
  call.options = scattering.options;
  const Report report = reduce_scatter_now(call, {}, more);
  return {report, !call.options.wire.is_fp32()};
}

Backend::WorkPtr Backend::start_reduce_scatter(const Name& name, const Tensors& outputs,
                                               const Tensors& inputs,
                                               const c10d::ReduceScatterOptions& options) {
  std::vector<Scattering> scatterings;
  validate([&] {
    op_for(options.reduceOp, inputs);  // of them together
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      scatterings.push_back(scattering_of(inputs[i], outputs[i], options));
    }
  });
  for (const Scattering& scattering : scatterings) draw_seed(scattering.options);
  return start(name, inputs, outputs, [this, scatterings] {
    Done done;
    for (const Scattering& scattering : scatterings) {
      done.add(scatter_now(scattering, &scattering != &scatterings.back()));
    }
    return done;
  });
}

Backend::WorkPtr Backend::reduce_scatter(Tensors& outputs, TensorLists& inputs,
                                         const c10d::ReduceScatterOptions& options) {
  bool even = true;
  validate([&] {
    check_one(outputs, "reduce_scatter");
    check_one_list(inputs, "reduce_scatter", "input");
    check_all_cpu(outputs);
    check_all_cpu(inputs[0]);
    check_for_each_rank(inputs[0], getSize(), "reduce_scatter", "input");
    check_like(outputs[0], inputs[0][static_cast<std::size_t>(getRank())], "reduce_scatter");
    for (const at::Tensor& part : inputs[0]) even = even && part.numel() == outputs[0].numel();
  });
  const Name name{OpType::REDUCE_SCATTER, "cpd:reduce_scatter"};
  if (even) return start_reduce_scatter(name, outputs, {flatten(inputs[0])}, options);
  return start_uneven_reduce_scatter(name, outputs[0], inputs[0], options);
}

/// All shares become as long as the longest, by zeros that the sum leaves alone. The ranks first
/// compare what they take each other's shares to be: padded, unequal ones would look alike.
Backend::WorkPtr Backend::start_uneven_reduce_scatter(const Name& name, const at::Tensor& output,
                                                      const Tensors& inputs,
                                                      const c10d::ReduceScatterOptions& options) {
  std::vector<std::int64_t> sizes;
  for (const at::Tensor& part : inputs) sizes.push_back(part.numel());
  Scattering padded;
  validate([&] {
    const at::Tensor rows = padded_rows(inputs, *std::ranges::max_element(sizes));
    padded = scattering_of(rows, at::empty_like(rows[0]), options);
  });
  draw_seed(padded.options);
  return start(name, inputs, {output}, [this, padded, sizes, output] {
    check_alike(sizes, padded.options.timeout);
    const Done done = scatter_now(padded, false);
    unflatten(padded.output, {output});
    return done;
  });
}

/// @throws Error mismatch where a rank has other sizes
void Backend::check_alike(const std::vector<std::int64_t>& sizes, Milliseconds timeout) {
  const std::int64_t mine = hash_of_sizes(sizes);
  std::vector<std::int64_t> of_all(sizes.size());
  communicator().allgather(std::as_bytes(std::span(&mine, 1)),
                           std::as_writable_bytes(std::span(of_all)), timeout);
  const auto other = std::ranges::find_if(of_all, [&](auto hash) { return hash != of_all[0]; });
  if (other != of_all.end()) {
    throw Error(ErrorCode::mismatch, "reduce_scatter: the tensors of rank " +
                                         std::to_string(other - of_all.begin()) +
                                         " have other sizes than those of rank 0");
  }
  more_calls_follow();
}

Backend::WorkPtr Backend::_reduce_scatter_base(at::Tensor& output, at::Tensor& input,
                                               const c10d::ReduceScatterOptions& options) {
  return start_reduce_scatter({OpType::_REDUCE_SCATTER_BASE, "cpd:reduce_scatter"}, {output},
                              {input}, options);
}

Backend::WorkPtr Backend::reduce_scatter_tensor_coalesced(
    Tensors& outputs, Tensors& inputs, const c10d::ReduceScatterOptions& options) {
  validate([&] { check_as_many(outputs, inputs, "reduce_scatter_tensor_coalesced"); });
  return start_reduce_scatter({OpType::COALESCED, "cpd:reduce_scatter"}, outputs, inputs, options);
}

Started Backend::start_all_reduce(ExplicitCall asked) {
  validate([&] {
    check_all_cpu(asked.tensors);
    check_all_cpu(asked.outputs);
  });
  limit(asked.options, c10d::kUnsetTimeout);
  draw_seed(asked.options);
  const auto call = std::make_shared<ExplicitCall>(std::move(asked));
  const auto report = std::make_shared<Report>();
  const Tensors& outputs = call->outputs.empty() ? call->tensors : call->outputs;
  auto work =
      start({OpType::ALLREDUCE, "cpd:all_reduce"}, call->tensors, outputs, [this, call, report] {
        const CallTensors made(*call);
        *report = allreduce_now(made.tensors(), call->options);
        made.copy_back();
        return Done{*report, is_low_precision(made.tensors(), call->options)};
      });
  return {std::move(work), report};
}

/// One tensor of parts, and one output for this rank's share.
Started Backend::start_reduce_scatter(ExplicitCall asked, std::vector<std::size_t> ends) {
  validate([&] {
    check_one(asked.tensors, "reduce_scatter");
    check_one(asked.outputs, "reduce_scatter's result");
    check_all_cpu({asked.tensors[0], asked.outputs[0]});
  });
  limit(asked.options, c10d::kUnsetTimeout);
  draw_seed(asked.options);
  const auto call = std::make_shared<ExplicitCall>(std::move(asked));
  const auto report = std::make_shared<Report>();
  auto work = start({OpType::_REDUCE_SCATTER_BASE, "cpd:reduce_scatter"}, call->tensors,
                    call->outputs, [this, call, report, ends = std::move(ends)] {
                      *report = reduce_scatter_now(*call, ends, false);
                      const bool low = !call->options.wire.is_fp32();
                      return Done{*report, low && is_compressible(call->tensors[0])};
                    });
  return {std::move(work), report};
}

/// @param more  whether the operation goes on with another one
Report Backend::reduce_scatter_now(const ExplicitCall& call, const std::vector<std::size_t>& ends,
                                   bool more) {
  AllreduceOptions options = with_draws(call.options);
  if (options.algorithm != Algorithm::ring) options.algorithm = Algorithm::direct;
  const at::Tensor parts = call.tensors[0].detach().resolve_conj().resolve_neg().contiguous();
  const Contiguous outputs(call.outputs);
  Tensor share = tensors_of(outputs).front();
  share.input_exponent = call.input_exponent;
  share.output_exponent = call.output_exponent;
  Report report =
      communicator().reduce_scatter(parts.data_ptr(), data_type_of(parts), share, ends, options);
  count_draws(options);
  if (more) more_calls_follow();
  outputs.copy_back();
  return report;
}

}  // namespace cpdcomm::torch_adapter
