#include "collective/call.hpp"

#include "collective/request.hpp"

namespace cpdcomm::collective {
namespace {

/// Whether a call may go by hosts.
bool takes_hosts(const AllreduceOptions& options) {
  return options.algorithm == Algorithm::hierarchical || options.algorithm == Algorithm::automatic;
}

void add_options(Hash& hash, const AllreduceOptions& options) {
  hash.add(static_cast<std::uint64_t>(options.op));
  hash.add(static_cast<std::uint64_t>(options.accumulate));
  hash.add(static_cast<std::uint64_t>(options.algorithm));
  if (takes_hosts(options)) hash.add(static_cast<std::uint64_t>(options.across));
  hash.add(static_cast<std::uint64_t>(options.emulate_nodes));
  hash.add(static_cast<std::uint64_t>(options.result));
  hash.add(static_cast<std::uint64_t>(options.rounding));
  if (options.rounding == Rounding::stochastic) {
    hash.add(options.seed.value_or(0));
    hash.add(options.step);
  }
}

void add_format(Hash& hash, Format format) {
  hash.add(static_cast<std::uint64_t>(format.kind()));
  hash.add(static_cast<std::uint64_t>(format.exp_bits() * 32 + format.man_bits()));
  hash.add(format.block());
}

void add_tensor(Hash& hash, const Tensor& tensor, bool delayed) {
  hash.add(tensor.count);
  hash.add(static_cast<std::uint64_t>(tensor.type));
  hash.add(static_cast<std::uint64_t>(tensor.input_type.value_or(tensor.type)));
  hash.add(tensor.residual != nullptr);
  hash.add(static_cast<std::uint64_t>(tensor.input_exponent));
  hash.add(static_cast<std::uint64_t>(tensor.output_exponent));
  if (delayed && tensor.memory != nullptr && tensor.memory->known) {
    hash.add(1 + static_cast<std::uint16_t>(tensor.memory->exponent));
  }
}

}  // namespace

Call call_of(std::span<const Tensor> tensors, const AllreduceOptions& options) {
  Call call;
  call.collective = Collective::allreduce;
  Hash formats;
  Hash rest;
  add_options(rest, options);
  if (takes_hosts(options)) {
    formats.add(options.inner.has_value());
    if (options.inner) add_format(formats, *options.inner);
  }
  rest.add(tensors.size());
  for (const Tensor& tensor : tensors) {
    const Format wire = wire_of(tensor, options);
    call.values += tensor.count;
    add_format(formats, wire);
    const Scaling scaling = options.scaling;
    const bool delayed = scaling.kind == Scaling::Kind::delayed;
    formats.add(is_scaled(tensor, options) ? 1 + scaling.group + (delayed ? 1 : 0) : 0);
    add_tensor(rest, tensor, delayed);
  }
  call.format_hash = formats.value();
  call.options_hash = rest.value();
  return call;
}

}  // namespace cpdcomm::collective
