// torch.ops.cpdcomm: the tensor functions as operators, so that torch.compile sees them. Their fake
// kernels are Python (_operators.py).
#include <torch/library.h>

#include "tensor_ops.hpp"

namespace cpdcomm::torch_adapter {
namespace {

TORCH_LIBRARY(cpdcomm, m) {
  m.set_python_module("cpdcomm._operators");
  const std::vector<at::Tag> tags{at::Tag::pt2_compliant_tag};
  m.def(
      "quantize(Tensor x, str format, Tensor? seed=None, bool saturate=False, str? geometry=None, "
      "int[] numbers=[], Tensor? scale=None) -> Tensor",
      tags);
  m.def(
      "quantize_out(Tensor x, str format, Tensor? seed, bool saturate, str? geometry, "
      "int[] numbers, Tensor? scale, Tensor(a!) out) -> ()",
      tags);
  m.def("float_quantize(Tensor x, int exp, int man, bool saturate=False) -> Tensor", tags);
  m.def("block_scales(Tensor x, str format, str? geometry=None, int[] numbers=[]) -> Tensor", tags);
  m.def("encode(Tensor x, str format, Tensor? seed=None, bool saturate=False) -> Tensor", tags);
  m.def("decode(Tensor data, str format, SymInt numel) -> Tensor", tags);
}

// For every device, so that those other than the CPU get an error of ours that says so.
TORCH_LIBRARY_IMPL(cpdcomm, CompositeExplicitAutograd, m) {
  m.impl("quantize", &quantize);
  m.impl("quantize_out", &quantize_out);
  m.impl("float_quantize", &float_quantize);
  m.impl("block_scales", &block_scales);
  m.impl("encode", &encode);
  m.impl("decode", &decode);
}

// A cast has no derivative of its own; fake_quantize gives it one.
TORCH_LIBRARY_IMPL(cpdcomm, Autograd, m) {
  for (const char* name :
       {"quantize", "quantize_out", "float_quantize", "block_scales", "encode", "decode"}) {
    m.impl(name, torch::CppFunction::makeFallthrough());
  }
}

}  // namespace
}  // namespace cpdcomm::torch_adapter
