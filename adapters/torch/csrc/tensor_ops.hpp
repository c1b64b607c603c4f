#pragma once

#include <ATen/ATen.h>

#include <optional>
#include <string_view>

// The tensor functions as torch sees them (operators.cpp registers them). Tensors are float32,
// bfloat16 or float16 on the CPU; a seed is an int64 tensor of one value, and none means
// nearest-even; a geometry is named ("flat", "tensor", "axes", "tiles") and has numbers (the block;
// none; the axes; the side and two dimensions), and none means the format's own blocks.
namespace cpdcomm::torch_adapter {

using OptionalTensor = std::optional<at::Tensor>;
using OptionalName = std::optional<std::string_view>;

/// x rounded to a format, in a new contiguous tensor of x's shape and dtype.
at::Tensor quantize(const at::Tensor& x, std::string_view format, const OptionalTensor& seed,
                    bool saturate, OptionalName geometry, at::IntArrayRef numbers,
                    const OptionalTensor& scale);

/// The same into a tensor of x's shape and dtype, which may be x.
void quantize_out(const at::Tensor& x, std::string_view format, const OptionalTensor& seed,
                  bool saturate, OptionalName geometry, at::IntArrayRef numbers,
                  const OptionalTensor& scale, const at::Tensor& out);

at::Tensor float_quantize(const at::Tensor& x, std::int64_t exp, std::int64_t man, bool saturate);

/// The scales of x's blocks, float32.
at::Tensor block_scales(const at::Tensor& x, std::string_view format, OptionalName geometry,
                        at::IntArrayRef numbers);

/// The packed bytes of x, one-dimensional uint8.
at::Tensor encode(const at::Tensor& x, std::string_view format, const OptionalTensor& seed,
                  bool saturate);

/// The inverse, one-dimensional float32.
at::Tensor decode(const at::Tensor& data, std::string_view format, std::int64_t numel);

}  // namespace cpdcomm::torch_adapter
