#include "collective/tuning/question.hpp"

#include <algorithm>
#include <map>

#include "collective/native.hpp"
#include "collective/request.hpp"

namespace cpdcomm::collective::tuning {
namespace {

/// What a tensor asks for beside the sum changes what its wire format means, or is learnt from it.
bool is_only_summed(const Tensor& tensor, const AllreduceOptions& options) {
  const bool remembers = options.scaling.kind == Scaling::Kind::delayed;  // else nobody reads it
  return tensor.residual == nullptr && !remembers && tensor.input_exponent == 0 &&
         tensor.output_exponent == 0 && tensor.input_type.value_or(tensor.type) == tensor.type;
}

/// Whether blocks of wire and inner format end together in a message, whatever the formats are;
/// by name hierarchical takes more (reduction::check_inner).
bool fits_inside(const Tensor& tensor, const AllreduceOptions& options) {
  constexpr std::size_t kLargestBlock = 4096;
  const Format wire = wire_of(tensor, options);
  if (!options.inner || *options.inner == wire) return true;
  return options.inner->is_float() && wire.block() <= kLargestBlock;
}

NoNative why_not_native(const Question& question, const transport::Transport& transport,
                        bool native_allowed) {
  if (!question.may_decline) return NoNative::more_than_a_sum;
  if (!native_allowed) return NoNative::check;
  if (transport.name() != "mpi") return NoNative::transport;
  // Every MPI sums FP32.
  if (!transport.has_allreduce(DataType::fp32, ReduceOp::sum)) return NoNative::thread_level;
  const bool empty = question.bytes == 0 && question.plain_bytes == 0;
  return empty ? NoNative::empty : NoNative::type;
}

}  // namespace

Place place_of(const transport::Transport& transport, const schedule::Hosts& hosts) {
  std::map<int, int> ranks_on;
  for (const int host : hosts) ++ranks_on[host];
  const int ranks = static_cast<int>(hosts.size());
  Place place{std::string(transport.name()), ranks, static_cast<int>(ranks_on.size()), ranks};
  for (const auto& [host, on_host] : ranks_on) {
    place.ranks_per_host = std::min(place.ranks_per_host, on_host);
  }
  return place;
}

Question question_of(std::span<const Tensor> tensors, const AllreduceOptions& options,
                     const transport::Transport& transport, bool native_allowed) {
  Question question{.algorithm = options.algorithm,
                    .across = options.across,
                    .accumulate = options.accumulate,
                    .rounding = options.rounding};
  bool only_summed = options.emulate_nodes == 1;
  std::size_t largest = 0;
  for (const Tensor& tensor : tensors) {
    only_summed = only_summed && is_only_summed(tensor, options);
    if (!is_summed_as_float(tensor, options)) {
      question.plain_bytes += static_cast<double>(tensor.count * size_of(tensor.type));
      continue;
    }
    question.bytes += static_cast<double>(tensor.count * sizeof(float));
    question.scaled = question.scaled || is_scaled(tensor, options);
    question.inner_fits = question.inner_fits && fits_inside(tensor, options);
    if (tensor.count < largest) continue;
    largest = tensor.count;
    question.wire = wire_of(tensor, options);
  }
  question.scaled = question.scaled && options.scaling.kind != Scaling::Kind::delayed;
  question.inner = options.inner.value_or(question.wire);
  question.only_summed = only_summed;
  question.may_decline = only_summed && options.accumulate == Accumulate::wide &&
                         options.algorithm == Algorithm::automatic;
  if (native_allowed && question.may_decline) {
    question.native_calls = native_calls(tensors, options, transport);
  }
  question.no_native = why_not_native(question, transport, native_allowed);
  return question;
}

}  // namespace cpdcomm::collective::tuning
