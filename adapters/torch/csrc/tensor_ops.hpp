#pragma once

#include <torch/torch.h>

#include <string>

namespace cpdcomm::torch_adapter {

/// decode(encode(x)) in a new tensor of x's shape and dtype (float32, bfloat16 or float16).
at::Tensor quantize(const at::Tensor& x, const std::string& format, bool saturate);
at::Tensor float_quantize(const at::Tensor& x, int exp, int man, bool saturate);

/// The packed bytes of x, in a one-dimensional uint8 tensor of ceil(numel * bits / 8) bytes.
at::Tensor encode(const at::Tensor& x, const std::string& format, bool saturate);

/// The inverse, a one-dimensional float32 tensor.
at::Tensor decode(const at::Tensor& data, const std::string& format, std::int64_t numel);

}  // namespace cpdcomm::torch_adapter
