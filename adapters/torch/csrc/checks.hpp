#pragma once

#include <ATen/ATen.h>
#include <torch/csrc/distributed/c10d/Types.hpp>

#include <string>
#include <vector>

// What one rank by itself finds wrong with the tensors of a call.
namespace cpdcomm::torch_adapter {

using TensorList = std::vector<at::Tensor>;

/// @throws Error invalid_argument unless there is one tensor
void check_one(const TensorList& tensors, const char* what);
/// @throws Error invalid_argument unless all are dense, on the CPU
void check_all_cpu(const TensorList& tensors);
/// @throws Error invalid_argument, unsupported, unless it is a sparse tensor that is summed
void check_sparse(const at::Tensor& tensor, const c10d::ReduceOp& op);
/// @throws Error invalid_argument unless there are as many
void check_as_many(const TensorList& outputs, const TensorList& inputs, const char* what);
/// @throws Error invalid_argument unless there is one list with a tensor like `one` for each rank
void check_lists(const std::vector<TensorList>& lists, int ranks, const at::Tensor& one,
                 const char* what, const char* side);

/// @throws Error invalid_argument unless there is one list
void check_one_list(const std::vector<TensorList>& lists, const char* what, const char* side);
/// @throws Error invalid_argument unless the output has the values and the dtype of this rank's
///         input
void check_like(const at::Tensor& output, const at::Tensor& input, const char* what);
/// @throws Error invalid_argument unless there are none, as on ranks that are not the root
void check_no_lists(const std::vector<TensorList>& lists, const char* what, const char* side);
/// @throws Error invalid_argument unless there is one tensor of one dtype for each rank
void check_for_each_rank(const TensorList& tensors, int ranks, const char* what, const char* side);

/// @throws Error invalid_argument that names both
void check_same_dtype(const at::Tensor& output, const at::Tensor& input, const char* operation);

}  // namespace cpdcomm::torch_adapter
