// torch.ops.cpdcomm: the tensor functions as operators, so that torch.compile sees them. Their fake
// kernels are Python (_operators.py).
#include "operators.hpp"

#include <ATen/core/dispatch/Dispatcher.h>
#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>
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

/// Defines an operator whose schema has this signature.
template <typename Signature>
struct Define;
template <typename Result, typename... Arguments>
struct Define<Result(Arguments...)> {
  void operator()(pybind11::module_& m, const char* name) const {
    const auto op = c10::Dispatcher::singleton()
                        .findSchemaOrThrow((std::string("cpdcomm::") + name).c_str(), "")
                        .typed<Result(Arguments...)>();
    m.def(
        name, [op](Arguments... arguments) -> Result { return op.call(arguments...); },
        pybind11::call_guard<pybind11::gil_scoped_release>());
  }
};

}  // namespace

void define_operators(pybind11::module_& m) {
  Define<decltype(quantize)>{}(m, "quantize");
  Define<decltype(quantize_out)>{}(m, "quantize_out");
  Define<decltype(float_quantize)>{}(m, "float_quantize");
  Define<decltype(block_scales)>{}(m, "block_scales");
  Define<decltype(encode)>{}(m, "encode");
  // A length is symbolic in a graph, and so in the schema.
  Define<at::Tensor(const at::Tensor&, std::string_view, c10::SymInt)>{}(m, "decode");
}

}  // namespace cpdcomm::torch_adapter
