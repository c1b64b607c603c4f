#include "collective/native.hpp"

#include <algorithm>

namespace cpdcomm::collective {
namespace {

bool is_float(DataType type) {
  return type == DataType::fp32 || type == DataType::fp64 || type == DataType::fp16 ||
         type == DataType::bf16;
}

/// The network knows no average: it sums, and we divide.
ReduceOp native_op(ReduceOp op) { return op == ReduceOp::average ? ReduceOp::sum : op; }

bool depends_on_order(DataType type, ReduceOp op) {
  return is_float(type) && (op == ReduceOp::min || op == ReduceOp::max);
}

const std::byte* part_of(const Tensor& tensor) {
  return static_cast<const std::byte*>(tensor.input == nullptr ? tensor.data : tensor.input);
}
std::byte* data_of(const Tensor& tensor) { return static_cast<std::byte*>(tensor.data); }
std::size_t bytes_of(const Tensor& tensor) { return tensor.count * size_of(tensor.type); }

/// Where the first tensors end that one call can sum: those of the first one's type.
std::size_t end_of_call(std::span<const Tensor> tensors) {
  std::size_t i = 1;
  while (i < tensors.size() && tensors[i].type == tensors.front().type) ++i;
  return i;
}

std::size_t count_of(std::span<const Tensor> tensors) {
  std::size_t count = 0;
  for (const Tensor& tensor : tensors) count += tensor.count;
  return count;
}

/// Whether tensors lie side by side, with their parts and with their results.
bool side_by_side(std::span<const Tensor> tensors) {
  for (std::size_t i = 1; i < tensors.size(); ++i) {
    const Tensor& before = tensors[i - 1];
    const Tensor& tensor = tensors[i];
    if (data_of(tensor) != data_of(before) + bytes_of(before) ||
        part_of(tensor) != part_of(before) + bytes_of(before)) {
      return false;
    }
  }
  return true;
}

template <typename T>
void divide(const Tensor& tensor, T divisor) {
  auto* const values = static_cast<T*>(tensor.data);
  for (std::size_t i = 0; i < tensor.count; ++i) values[i] /= divisor;
}

/// Of an average; no other type has one.
void divide(const Tensor& tensor, int divisor) {
  if (tensor.type == DataType::fp32) divide(tensor, static_cast<float>(divisor));
  if (tensor.type == DataType::fp64) divide(tensor, static_cast<double>(divisor));
}

}  // namespace

std::uint32_t native_calls(std::span<const Tensor> tensors, const AllreduceOptions& options,
                           const transport::Transport& transport) {
  for (const Tensor& tensor : tensors) {
    if (!transport.has_allreduce(tensor.type, native_op(options.op)) ||
        depends_on_order(tensor.type, options.op)) {
      return 0;
    }
  }
  std::uint32_t calls = 0;
  for (; !tensors.empty(); tensors = tensors.subspan(end_of_call(tensors))) {
    calls += count_of(tensors.first(end_of_call(tensors))) > 0 ? 1 : 0;
  }
  return calls;
}

/// Tensors of one type.
void Native::sum_together(transport::Transport& transport, Tensors tensors, ReduceOp op) {
  const Tensor& first = tensors.front();
  const std::size_t count = count_of(tensors);
  if (count == 0) return;
  const bool packed = !side_by_side(tensors);
  if (packed) {
    together_.resize(count * size_of(first.type));
    std::byte* to = together_.data();
    for (const Tensor& tensor : tensors) to = std::copy_n(part_of(tensor), bytes_of(tensor), to);
  }
  std::byte* const data = packed ? together_.data() : data_of(first);
  const std::byte* const part = packed ? data : part_of(first);
  if (!transport.allreduce(part, data, count, first.type, op)) {
    throw Error(ErrorCode::unsupported, "the network has no all-reduce of " +
                                            to_string(first.type) + " under '" + to_string(op) +
                                            "'");
  }
  if (!packed) return;
  const std::byte* from = data;
  for (const Tensor& tensor : tensors) {
    std::copy_n(from, bytes_of(tensor), data_of(tensor));
    from += bytes_of(tensor);
  }
}

void Native::allreduce(transport::Transport& transport, Tensors tensors,
                       const AllreduceOptions& options, Report& report) {
  for (Tensors rest = tensors; !rest.empty(); rest = rest.subspan(end_of_call(rest))) {
    sum_together(transport, rest.first(end_of_call(rest)), native_op(options.op));
  }
  for (const Tensor& tensor : tensors) {
    if (options.op == ReduceOp::average) divide(tensor, transport.size());
    report.logical_bytes += bytes_of(tensor);
  }
}

}  // namespace cpdcomm::collective
