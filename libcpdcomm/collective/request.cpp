#include "collective/request.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "collective/message.hpp"
#include "cpdcomm/codec.hpp"
#include "reduction/blocks.hpp"
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
  const std::size_t read = tensor.count * size_of(tensor.input_type.value_or(tensor.type));
  const std::size_t written = tensor.count * size_of(tensor.type);
  if (input < data + written && data < input + read) {
    const std::uintptr_t overlap = std::min(input + read, data + written) - std::max(input, data);
    invalid(
        fmt::format("the input of tensor {} overlaps its data by {} of {} bytes; they must be "
                    "the same or apart",
                    index, overlap, written));
  }
}

/// Whether a format's values would be scaled; a block has a scale of its own.
bool takes_exponent(Format wire, const AllreduceOptions& options) {
  return options.scaling.kind != Scaling::Kind::none && wire.is_float() && !wire.is_fp32();
}

[[noreturn]] void refuse_wire(std::size_t index, Format wire, const std::string& why) {
  invalid(fmt::format("tensor {} cannot travel as {}: {}", index, wire.to_string(), why));
}

/// `exact` always sums on shared scales, and votes have none.
void check_integer_scaling(std::size_t index, Format wire, const AllreduceOptions& options) {
  const bool exact = options.accumulate == Accumulate::exact;
  const Scaling other{exact ? Scaling::Kind::aps : Scaling::Kind::none};
  if (options.scaling == Scaling() || options.scaling == other) return;
  refuse_wire(index, wire,
              fmt::format("scaling '{}' is not for accumulate '{}', {}; allowed are automatic and "
                          "{}",
                          to_string(options.scaling), to_string(options.accumulate),
                          exact ? "which shares the blocks' scales" : "which counts signs alone",
                          to_string(other)));
}

void check_integer_sum(std::size_t index, Format wire, const AllreduceOptions& options) {
  const bool exact = options.accumulate == Accumulate::exact;
  const bool fits = exact ? wire.kind() == Format::Kind::bfp || wire.kind() == Format::Kind::integer
                          : wire.kind() == Format::Kind::sign;
  if (!fits) {
    refuse_wire(index, wire,
                fmt::format("accumulate '{}' is for {}", to_string(options.accumulate),
                            exact ? "bfpK and intK" : "sign"));
  }
  check_integer_scaling(index, wire, options);
  if (!exact && options.op != ReduceOp::sum) {
    refuse_wire(index, wire,
                "accumulate 'majority' is a vote: it goes with op 'sum', not with "
                "'avg'");
  }
}

void check_block_sum(std::size_t index, Format wire, const AllreduceOptions& options) {
  const Scaling::Kind kind = options.scaling.kind;
  if (kind == Scaling::Kind::aps || kind == Scaling::Kind::delayed) {
    refuse_wire(
        index, wire,
        fmt::format("scaling '{}' is for float formats, and for bfpK and intK with accumulate "
                    "'exact'; blocks have scales of their own, which 'automatic' leaves as they "
                    "are",
                    to_string(options.scaling)));
  }
  if (options.accumulate != Accumulate::wide) {
    refuse_wire(index, wire,
                fmt::format("accumulate '{}' is for float formats; blocks are summed with 'wide' "
                            "or 'exact'",
                            to_string(options.accumulate)));
  }
}

/// Whether what is asked for has a meaning in the wire format of a tensor that is summed over it.
void check_wire(const Tensor& tensor, std::size_t index, const AllreduceOptions& options) {
  const Format wire = wire_of(tensor, options);
  if (is_summed_in_integers(tensor, options)) {
    check_integer_sum(index, wire, options);
  } else if (!wire.is_float()) {
    check_block_sum(index, wire, options);
  }
  if (wire.hides_non_finite() && !takes_exponent(wire, options)) {
    refuse_wire(index, wire,
                "it has no code for Inf or NaN, which only scaling 'aps' would bring to every "
                "rank");
  }
  const std::size_t block = encoded_size(wire, std::min(wire.block(), tensor.count));
  if (block > kLargestBody) {
    refuse_wire(
        index, wire,
        fmt::format("a block takes {} bytes; a message has room for {}", block, kLargestBody));
  }
}

void check_exponent(int exponent, const char* what, std::size_t index) {
  constexpr int kMost = 126;
  if (-kMost <= exponent && exponent <= kMost) return;
  invalid(fmt::format("{} of tensor {} is {}; allowed is -{} to {}", what, index, exponent, kMost,
                      kMost));
}

void check_delayed(const Tensor& tensor, std::size_t index, const AllreduceOptions& options) {
  if (options.scaling.kind != Scaling::Kind::delayed || !is_scaled(tensor, options)) return;
  if (tensor.memory == nullptr) {
    invalid(fmt::format("tensor {} has no memory of its exponent, which scaling 'delayed' needs",
                        index));
  }
  if (tensor.residual != nullptr) {
    invalid(
        fmt::format("tensor {} has a residual, which stays as it is when the tensor is not "
                    "finite: scaling 'delayed' tells too late; allowed is 'aps'",
                    index));
  }
}

/// Of `hierarchical`: what travels inside a host.
void check_inner(const Tensor& tensor, std::size_t index, const AllreduceOptions& options) {
  if (options.algorithm != Algorithm::hierarchical || !options.inner) return;
  const Format wire = wire_of(tensor, options);
  if (is_summed_in_integers(tensor, options) || *options.inner == wire) return;
  if (tensor.residual != nullptr) {
    invalid(
        fmt::format("tensor {} has a residual of its cast to {}, but travels as {} inside a "
                    "host: inner must be 'wire'",
                    index, wire.to_string(), options.inner->to_string()));
  }
  reduction::check_inner(wire, *options.inner, options.scaling.group);
}

/// What is only for tensors of floats that are summed.
void check_summed(const Tensor& tensor, std::size_t index, const AllreduceOptions& options) {
  check_exponent(tensor.input_exponent, "input_exponent", index);
  check_exponent(tensor.output_exponent, "output_exponent", index);
  if (tensor.residual != nullptr && options.accumulate == Accumulate::majority) {
    invalid(fmt::format("tensor {} has a residual: a vote loses no magnitude that it could keep",
                        index));
  }
  if (tensor.residual != nullptr && options.emulate_nodes > 1) {
    invalid(
        fmt::format("tensor {} has a residual and emulated nodes' parts; allowed is one of "
                    "them",
                    index));
  }
  check_delayed(tensor, index, options);
  check_inner(tensor, index, options);
  if (!tensor.input_type || *tensor.input_type == tensor.type) return;
  const bool widens = tensor.type == DataType::fp32 && is_small_float(*tensor.input_type);
  const bool is_apart = tensor.input != nullptr || !tensor.nodes.empty() || tensor.count == 0;
  if (!widens || !is_apart) {
    invalid(
        fmt::format("tensor {} of {} has an input of {}; allowed is fp16 or bf16 into another "
                    "buffer of fp32",
                    index, to_string(tensor.type), to_string(*tensor.input_type)));
  }
}

void check_not_summed(const Tensor& tensor, std::size_t index, const AllreduceOptions& options) {
  if (tensor.residual == nullptr && tensor.input_exponent == 0 && tensor.output_exponent == 0 &&
      tensor.input_type.value_or(tensor.type) == tensor.type) {
    return;
  }
  invalid(
      fmt::format("tensor {} is {} under '{}': residual, exponents and input_type are for sum "
                  "and avg of fp32, bf16 and fp16",
                  index, to_string(tensor.type), to_string(options.op)));
}

void check_algorithms(const AllreduceOptions& options) {
  if (options.algorithm == Algorithm::native) {
    invalid("algorithm 'native' cannot be asked for: 'automatic' takes it where it is faster");
  }
  if (options.across == Algorithm::native || options.across == Algorithm::hierarchical) {
    invalid(
        fmt::format("across is '{}'; allowed is automatic, direct, ring, tree and "
                    "halving_doubling",
                    to_string(options.across)));
  }
  if (options.algorithm == Algorithm::hierarchical && options.emulate_nodes > 1) {
    throw Error(ErrorCode::unsupported,
                "algorithm 'hierarchical' sums inside hosts what emulated nodes stand for: "
                "emulate_nodes must be 1");
  }
  if (options.result == Result::wire && options.accumulate != Accumulate::exact) {
    invalid(fmt::format("result 'wire' is for accumulate 'exact', not '{}'",
                        to_string(options.accumulate)));
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
    check_summed(tensor, index, options);
  } else {
    reduction::check_operator(options.op, tensor.type);
    check_not_summed(tensor, index, options);
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

bool is_integer_sum(Accumulate accumulate) {
  return accumulate == Accumulate::exact || accumulate == Accumulate::majority;
}

bool is_summed_in_integers(const Tensor& tensor, const AllreduceOptions& options) {
  return is_summed_as_float(tensor, options) && is_integer_sum(options.accumulate) &&
         !(tensor.wire && tensor.wire->is_float());
}

Format wire_of(const Tensor& tensor, const AllreduceOptions& options) {
  return tensor.wire.value_or(options.wire);
}

bool is_scaled(const Tensor& tensor, const AllreduceOptions& options) {
  return is_summed_as_float(tensor, options) && takes_exponent(wire_of(tensor, options), options) &&
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
  check_algorithms(options);
  if (options.scaling.group % 8 != 0) {
    invalid(fmt::format("scaling 'aps:{}': the group is a multiple of 8", options.scaling.group));
  }
  if (options.scaling.group != 0 && options.scaling.kind == Scaling::Kind::delayed) {
    invalid(fmt::format("scaling 'delayed' with a group of {}: it has one exponent per tensor",
                        options.scaling.group));
  }
  if (options.timeout.count() < 0) {
    invalid(fmt::format("timeout is {} ms; it cannot be negative", options.timeout.count()));
  }
  for (std::size_t i = 0; i < tensors.size(); ++i) check_tensor(tensors[i], i, options);
}

}  // namespace cpdcomm::collective
