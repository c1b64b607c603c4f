#include "tensors.hpp"

#include <ATen/core/grad_mode.h>

#include <sstream>

namespace cpdcomm::torch_adapter {

DataType data_type_of(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kFloat:
    case at::kComplexFloat:
      return DataType::fp32;
    case at::kBFloat16:
      return DataType::bf16;
    case at::kHalf:
    case at::kComplexHalf:
      return DataType::fp16;
    case at::kDouble:
    case at::kComplexDouble:
      return DataType::fp64;
    case at::kChar:
      return DataType::int8;
    case at::kByte:
    case at::kBool:
      return DataType::uint8;
    case at::kShort:
      return DataType::int16;
    case at::kInt:
      return DataType::int32;
    case at::kLong:
      return DataType::int64;
    default:
      throw Error(ErrorCode::unsupported,
                  "a tensor of dtype " + dtype_name(tensor) +
                      " cannot be reduced: float32, bfloat16, float16, float64, int8, uint8, "
                      "int16, int32, int64, bool and complex can");
  }
}

Tensor tensor_of(const at::Tensor& tensor) {
  const std::size_t parts = tensor.is_complex() ? 2 : 1;
  return {.data = tensor.data_ptr(),
          .count = parts * static_cast<std::size_t>(tensor.numel()),
          .type = data_type_of(tensor)};
}

bool is_compressible(const at::Tensor& tensor) {
  const at::ScalarType type = tensor.scalar_type();
  return type == at::kFloat || type == at::kBFloat16 || type == at::kHalf;
}

std::string dtype_name(const at::Tensor& tensor) {
  return std::string(c10::getDtypeNames(tensor.scalar_type()).first);
}

void check_cpu(const at::Tensor& tensor, const std::string& what) {
  std::ostringstream message;
  if (!tensor.defined()) {
    message << what << " is undefined";
  } else if (tensor.layout() != at::kStrided) {
    message << what << " has layout " << tensor.layout() << "; only dense tensors are taken";
  } else if (!tensor.device().is_cpu()) {
    message << what << " is on device " << tensor.device() << "; backend cpd takes CPU tensors";
  } else {
    return;
  }
  throw Error(ErrorCode::invalid_argument, message.str());
}

Contiguous::Contiguous(std::vector<at::Tensor> tensors) : original_(std::move(tensors)) {
  for (const at::Tensor& tensor : original_)
    dense_.push_back(tensor.detach().resolve_conj().resolve_neg().contiguous());
}

void Contiguous::copy_back() const {
  const at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < dense_.size(); ++i) {
    if (dense_[i].data_ptr() != original_[i].data_ptr()) original_[i].detach().copy_(dense_[i]);
  }
}

at::Tensor flatten(const std::vector<at::Tensor>& tensors) {
  const at::NoGradGuard no_grad;
  std::vector<at::Tensor> flat;
  for (const at::Tensor& tensor : tensors) flat.push_back(tensor.detach().reshape(-1));
  return flat.empty() ? at::empty({0}) : at::cat(flat);
}

void unflatten(const at::Tensor& flat, const std::vector<at::Tensor>& tensors) {
  const at::NoGradGuard no_grad;
  std::int64_t first = 0;
  for (const at::Tensor& tensor : tensors) {
    tensor.detach().copy_(flat.narrow(0, first, tensor.numel()).view(tensor.sizes()));
    first += tensor.numel();
  }
}

std::span<std::byte> bytes_of(const at::Tensor& tensor) {
  return {static_cast<std::byte*>(tensor.data_ptr()), tensor.nbytes()};
}

}  // namespace cpdcomm::torch_adapter
