#include "checks.hpp"

#include "cpdcomm/error.hpp"
#include "tensors.hpp"

namespace cpdcomm::torch_adapter {
namespace {

[[noreturn]] void invalid(const std::string& message) {
  throw Error(ErrorCode::invalid_argument, message);
}

}  // namespace

void check_one(const TensorList& tensors, const char* what) {
  if (tensors.size() == 1) return;
  invalid(std::string(what) + " takes one tensor a call, not " + std::to_string(tensors.size()));
}

void check_all_cpu(const TensorList& tensors) {
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    check_cpu(tensors[i], "tensor " + std::to_string(i));
  }
}

void check_sparse(const at::Tensor& tensor, const c10d::ReduceOp& op) {
  if (!tensor.is_sparse() || !tensor.device().is_cpu()) {
    invalid("allreduce_sparse takes a sparse COO tensor on the CPU");
  }
  if (op == c10d::ReduceOp::SUM) return;
  throw Error(ErrorCode::unsupported, "sparse tensors are summed: SUM alone is allowed");
}

void check_as_many(const TensorList& outputs, const TensorList& inputs, const char* what) {
  if (outputs.size() == inputs.size()) return;
  invalid(std::string(what) + " has " + std::to_string(outputs.size()) + " outputs for " +
          std::to_string(inputs.size()) + " inputs");
}

void check_lists(const std::vector<TensorList>& lists, int ranks, const at::Tensor& one,
                 const char* what, const char* side) {
  if (lists.size() != 1 || lists[0].size() != static_cast<std::size_t>(ranks)) {
    invalid(std::string(what) + " needs " + std::to_string(ranks) + " " + side +
            " tensors, one for each rank");
  }
  check_all_cpu(lists[0]);
  for (const at::Tensor& tensor : lists[0]) {
    if (tensor.numel() == one.numel() && tensor.scalar_type() == one.scalar_type()) continue;
    invalid(std::string(what) + "'s " + side + " tensors must be of one size and dtype");
  }
}

void check_one_list(const std::vector<TensorList>& lists, const char* what, const char* side) {
  if (lists.size() == 1) return;
  invalid(std::string(what) + " takes one list of " + side + " tensors, not " +
          std::to_string(lists.size()));
}

void check_like(const at::Tensor& output, const at::Tensor& input, const char* what) {
  check_same_dtype(output, input, what);
  if (output.numel() == input.numel()) return;
  invalid(std::string(what) + "'s output has " + std::to_string(output.numel()) +
          " values, this rank's input " + std::to_string(input.numel()));
}

void check_no_lists(const std::vector<TensorList>& lists, const char* what, const char* side) {
  for (const TensorList& list : lists) {
    if (list.empty()) continue;
    invalid(std::string(what) + " takes " + side + " tensors at its root alone");
  }
}

void check_for_each_rank(const TensorList& tensors, int ranks, const char* what, const char* side) {
  if (tensors.size() != static_cast<std::size_t>(ranks)) {
    invalid(std::string(what) + " needs " + std::to_string(ranks) + " " + side +
            " tensors, one for each rank, not " + std::to_string(tensors.size()));
  }
  for (const at::Tensor& tensor : tensors) {
    if (tensor.scalar_type() == tensors[0].scalar_type()) continue;
    invalid(std::string(what) + "'s " + side + " tensors must be of one dtype");
  }
}

void check_same_dtype(const at::Tensor& output, const at::Tensor& input, const char* operation) {
  if (output.scalar_type() == input.scalar_type()) return;
  throw Error(ErrorCode::invalid_argument, std::string(operation) + "'s output has dtype " +
                                               dtype_name(output) + ", its input " +
                                               dtype_name(input));
}

}  // namespace cpdcomm::torch_adapter
