#pragma once

#include <ATen/ATen.h>

#include <string>
#include <vector>

#include "cpdcomm/communicator.hpp"

namespace cpdcomm::torch_adapter {

/// The library's type for a torch dtype; bool travels as uint8, a complex number as two floats.
/// @throws Error unsupported that names the dtype and lists what is allowed
DataType data_type_of(const at::Tensor& tensor);

/// The library's view of a contiguous tensor.
/// @throws Error as data_type_of
Tensor tensor_of(const at::Tensor& tensor);

/// Whether a wire format can carry a tensor's values: float32, bfloat16, float16. Complex numbers
/// stay exact: whoever wants fewer bits of their parts passes torch.view_as_real.
bool is_compressible(const at::Tensor& tensor);

/// A tensor's dtype as people write it: "int64".
std::string dtype_name(const at::Tensor& tensor);

/// Checks that a tensor is dense and on the CPU.
/// @param what  names the tensor in the error, such as "tensor 2"
/// @throws Error invalid_argument
void check_cpu(const at::Tensor& tensor, const std::string& what);

/// Contiguous stand-ins for tensors that need not be, copied back when the work is done.
class Contiguous {
 public:
  explicit Contiguous(std::vector<at::Tensor> tensors);
  const at::Tensor& operator[](std::size_t i) const { return dense_[i]; }
  std::size_t size() const { return dense_.size(); }
  void copy_back() const;

 private:
  std::vector<at::Tensor> original_;
  std::vector<at::Tensor> dense_;
};

/// Copies of tensors, one after the other; all have one dtype.
at::Tensor flatten(const std::vector<at::Tensor>& tensors);
/// The inverse: copies consecutive values of a flat tensor.
void unflatten(const at::Tensor& flat, const std::vector<at::Tensor>& tensors);

/// A tensor's memory as bytes; it must be contiguous.
std::span<std::byte> bytes_of(const at::Tensor& tensor);

}  // namespace cpdcomm::torch_adapter
