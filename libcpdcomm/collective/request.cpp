#include "collective/request.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "cpdcomm/codec.hpp"
#include "reduction/plain.hpp"

namespace cpdcomm::collective {
namespace {

[[noreturn]] void invalid(const std::string& message) {
  throw Error(ErrorCode::invalid_argument, message);
}

bool is_sum(ReduceOp op) { return op == ReduceOp::sum || op == ReduceOp::average; }

void check_nodes(const Tensor& tensor, std::size_t index, const AllreduceOptions& options) {
  const auto nodes = static_cast<std::size_t>(options.emulate_nodes);
  const std::size_t wanted = nodes == 1 ? 0 : nodes;
  if (tensor.nodes.size() != wanted) {
    invalid(fmt::format("tensor {} has {} emulated nodes' parts; emulate_nodes = {} takes {}",
                        index, tensor.nodes.size(), options.emulate_nodes, wanted));
  }
  if (tensor.count == 0) return;
  for (const void* node : tensor.nodes) {
    if (node == nullptr) invalid(fmt::format("tensor {} has a null part", index));
  }
}

/// A part is only read, so its buffer must not be written while the result arrives.
void check_input(const Tensor& tensor, std::size_t index) {
  if (tensor.input == nullptr || tensor.input == tensor.data || tensor.count == 0) return;
  if (!tensor.nodes.empty()) {
    invalid(fmt::format("tensor {} has an input and emulated nodes' parts; allowed is one of them",
                        index));
  }
  const auto input = reinterpret_cast<std::uintptr_t>(tensor.input);
  const auto data = reinterpret_cast<std::uintptr_t>(tensor.data);
  const std::size_t bytes = tensor.count * size_of(tensor.type);
  if (input < data + bytes && data < input + bytes) {
    invalid(
        fmt::format("the input of tensor {} overlaps its data by {} of {} bytes; they must be "
                    "the same or apart",
                    index, bytes - (input < data ? data - input : input - data), bytes));
  }
}

/// Whether a format's values would be scaled; a block has a scale of its own.
bool is_scaled(Format wire, const AllreduceOptions& options) {
  return options.scaling.kind != Scaling::Kind::none && wire.is_float() && !wire.is_fp32();
}

/// Whether what is asked for has a meaning in the wire format of a tensor that is summed over it.
void check_wire(const Tensor& tensor, std::size_t index, const AllreduceOptions& options) {
  const Format wire = wire_of(tensor, options);
  const auto refuse = [&](const std::string& why) {
    invalid(fmt::format("tensor {} cannot travel as {}: {}", index, wire.to_string(), why));
  };
  if (!wire.is_float() && options.scaling.kind == Scaling::Kind::aps) {
    refuse(
        fmt::format("scaling '{}' is for float formats; blocks have scales of their own, which "
                    "'automatic' leaves as they are",
                    to_string(options.scaling)));
  }
  if (!wire.is_float() && options.accumulate != Accumulate::wide) {
    refuse(fmt::format("accumulate '{}' is for float formats; blocks are summed with 'wide'",
                       to_string(options.accumulate)));
  }
  if (wire.hides_non_finite() && !is_scaled(wire, options)) {
    refuse("it has no code for Inf or NaN, which only scaling 'aps' would bring to every rank");
  }
  const std::size_t block = encoded_size(wire, std::min(wire.block(), tensor.count));
  if (block > kLargestBody) {
    refuse(fmt::format("a block takes {} bytes; a message has room for {}", block, kLargestBody));
  }
}

void check_rounding(const AllreduceOptions& options, std::int64_t parts) {
  if (options.rounding != Rounding::stochastic) return;
  if (options.accumulate == Accumulate::kahan) {
    invalid(
        "accumulate 'kahan' keeps what rounding to nearest loses; rounding 'stochastic' goes with "
        "'wide' and 'rounded'");
  }
  // A partial sum's random words are told apart by 16 bits; the last number is that of results.
  constexpr std::int64_t kMostParts = 65535;
  if (parts > kMostParts) {
    invalid(fmt::format(
        "rounding 'stochastic' sums at most {} parts (ranks times emulated nodes), not {}",
        kMostParts, parts));
  }
}

void check_tensor(const Tensor& tensor, std::size_t index, const AllreduceOptions& options) {
  if (tensor.data == nullptr && tensor.count != 0) {
    invalid(fmt::format("tensor {} has {} values and no memory", index, tensor.count));
  }
  if (tensor.wire && !tensor.wire->is_fp32() && !is_summed_as_float(tensor, options)) {
    invalid(fmt::format(
        "tensor {} is {} under '{}' and cannot travel as {}: a wire format is for "
        "sum and avg of fp32, bf16 and fp16",
        index, to_string(tensor.type), to_string(options.op), tensor.wire->to_string()));
  }
  if (is_summed_as_float(tensor, options)) {
    check_wire(tensor, index, options);
  } else {
    reduction::check_operator(options.op, tensor.type);
  }
  check_nodes(tensor, index, options);
  check_input(tensor, index);
  if (options.emulate_nodes > 1 && !is_summed_as_float(tensor, options)) {
    throw Error(ErrorCode::unsupported,
                fmt::format("node emulation is for sum and avg of fp32, bf16 and fp16; tensor {} "
                            "is {} under '{}'",
                            index, to_string(tensor.type), to_string(options.op)));
  }
}

}  // namespace

bool is_small_float(DataType type) {
  return type == DataType::fp32 || type == DataType::bf16 || type == DataType::fp16;
}

bool is_summed_as_float(const Tensor& tensor, const AllreduceOptions& options) {
  return is_sum(options.op) && is_small_float(tensor.type);
}

Format wire_of(const Tensor& tensor, const AllreduceOptions& options) {
  return tensor.wire.value_or(options.wire);
}

bool is_scaled(const Tensor& tensor, const AllreduceOptions& options) {
  return is_summed_as_float(tensor, options) && is_scaled(wire_of(tensor, options), options) &&
         tensor.count != 0;
}

void check_request(std::span<const Tensor> tensors, const AllreduceOptions& options, int ranks) {
  // E = ceil(log2(max * W)) is worked out in 64 bits.
  constexpr std::int64_t kMostParts = std::int64_t{1} << 31;
  const std::int64_t parts = static_cast<std::int64_t>(options.emulate_nodes) * ranks;
  if (options.emulate_nodes < 1 || parts > kMostParts) {
    invalid(fmt::format("emulate_nodes is {}; allowed is 1 up to 2^31 parts in all",
                        options.emulate_nodes));
  }
  check_rounding(options, parts);
  if (options.scaling.group % 8 != 0) {
    invalid(fmt::format("scaling 'aps:{}': the group is a multiple of 8", options.scaling.group));
  }
  if (options.timeout.count() < 0) {
    invalid(fmt::format("timeout is {} ms; it cannot be negative", options.timeout.count()));
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) check_tensor(tensors[i], i, options);
}

Call call_of(std::span<const Tensor> tensors, const AllreduceOptions& options,
             Algorithm algorithm) {
  Call call;
  call.collective = Collective::allreduce;
  Hash formats;
  Hash rest;
  rest.add(static_cast<std::uint64_t>(options.op));
  rest.add(static_cast<std::uint64_t>(options.accumulate));
  rest.add(static_cast<std::uint64_t>(algorithm));
  rest.add(static_cast<std::uint64_t>(options.emulate_nodes));
  rest.add(static_cast<std::uint64_t>(options.rounding));
  if (options.rounding == Rounding::stochastic) {
    rest.add(options.seed.value_or(0));
    rest.add(options.step);
  }
  rest.add(tensors.size());
  for (const Tensor& tensor : tensors) {
    const Format wire = wire_of(tensor, options);
    call.values += tensor.count;
    formats.add(static_cast<std::uint64_t>(wire.kind()));
    formats.add(static_cast<std::uint64_t>(wire.exp_bits() * 32 + wire.man_bits()));
    formats.add(wire.block());
    formats.add(is_scaled(tensor, options) ? 1 + options.scaling.group : 0);
    rest.add(tensor.count);
    rest.add(static_cast<std::uint64_t>(tensor.type));
  }
  call.format_hash = formats.value();
  call.options_hash = rest.value();
  return call;
}

}  // namespace cpdcomm::collective
