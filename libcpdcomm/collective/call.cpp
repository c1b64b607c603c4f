#include "collective/call.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include "collective/option_digest.hpp"
#include "collective/request.hpp"

namespace cpdcomm::collective {
namespace {

/// Whether a call may go by hosts.
bool takes_hosts(const AllreduceOptions& options) {
  return options.algorithm == Algorithm::hierarchical || options.algorithm == Algorithm::automatic;
}

void add_format(Hash& hash, Format format) {
  hash.add(static_cast<std::uint64_t>(format.kind()));
  hash.add(static_cast<std::uint64_t>(format.exp_bits() * 32 + format.man_bits()));
  hash.add(format.block());
}

void add_options(Hash& hash, const AllreduceOptions& options) {
  hash.add(static_cast<std::uint64_t>(options.op));
  hash.add(static_cast<std::uint64_t>(options.accumulate));
  hash.add(static_cast<std::uint64_t>(options.algorithm));
  if (takes_hosts(options)) {
    hash.add(static_cast<std::uint64_t>(options.across));
    hash.add(options.inner.has_value());
    if (options.inner) add_format(hash, *options.inner);
  }
  hash.add(static_cast<std::uint64_t>(options.emulate_nodes));
  hash.add(static_cast<std::uint64_t>(options.result));
  hash.add(static_cast<std::uint64_t>(options.rounding));
  if (options.rounding == Rounding::stochastic) {
    hash.add(options.seed.value_or(0));
    hash.add(options.step);
  }
}

/// A few bits of a hash, for a digest: its upper ones, which depend on all that was added.
std::uint32_t few_bits(const Hash& hash, int bits) { return hash.value() >> (32 - bits); }

/// How a tensor is scaled: not at all, with one exponent (of this call or the last), or in groups.
std::size_t scaling_of(const Tensor& tensor, const AllreduceOptions& options) {
  if (!is_scaled(tensor, options)) return 0;
  return options.scaling.kind == Scaling::Kind::delayed ? 2 : 1 + options.scaling.group;
}

std::uint32_t hash_of_wires(std::span<const Tensor> tensors, const AllreduceOptions& options) {
  Hash hash;
  for (const Tensor& tensor : tensors) add_format(hash, wire_of(tensor, options));
  return few_bits(hash, 6);
}

/// Of changes from tensor to tensor, so that those of most calls, which have none, are all
/// distinct.
std::uint32_t hash_of_scalings(std::span<const Tensor> tensors, const AllreduceOptions& options) {
  Hash hash;
  std::optional<std::size_t> last;
  for (const Tensor& tensor : tensors) {
    const std::size_t scaling = scaling_of(tensor, options);
    if (std::exchange(last, scaling) != scaling) hash.add(scaling);
  }
  return few_bits(hash, 4);
}

/// 0 is the wire format itself.
std::uint32_t hash_of_inner(const AllreduceOptions& options) {
  if (!options.inner) return 0;
  Hash hash;
  add_format(hash, *options.inner);
  return std::max(1u, few_bits(hash, 4));
}

std::uint32_t hash_of_seed(const AllreduceOptions& options) {
  Hash hash;
  hash.add(options.seed.value_or(0));
  return few_bits(hash, 4);
}

OptionDigest digest_of(std::span<const Tensor> tensors, const AllreduceOptions& options) {
  OptionDigest digest;
  digest.op = static_cast<std::uint32_t>(options.op) & 7u;
  digest.accumulate = static_cast<std::uint32_t>(options.accumulate) & 7u;
  digest.algorithm = static_cast<std::uint32_t>(options.algorithm) & 7u;
  digest.result = static_cast<std::uint32_t>(options.result) & 1u;
  digest.rounding = static_cast<std::uint32_t>(options.rounding) & 1u;
  digest.wire = hash_of_wires(tensors, options) & 63u;
  digest.scaling = hash_of_scalings(tensors, options) & 15u;
  if (takes_hosts(options)) {
    digest.across = static_cast<std::uint32_t>(options.across) & 7u;
    digest.inner = hash_of_inner(options) & 15u;
  }
  if (options.rounding == Rounding::stochastic) digest.seed = hash_of_seed(options) & 15u;
  return digest;
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
  call.options = digest_of(tensors, options).bits();
  Hash all;
  add_options(all, options);
  all.add(tensors.size());
  for (const Tensor& tensor : tensors) {
    call.values += tensor.count;
    add_format(all, wire_of(tensor, options));
    all.add(scaling_of(tensor, options));
    add_tensor(all, tensor, options.scaling.kind == Scaling::Kind::delayed);
  }
  call.options_hash = all.value();
  return call;
}

}  // namespace cpdcomm::collective
