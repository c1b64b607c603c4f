#pragma once

#include <pybind11/pybind11.h>

namespace cpdcomm::torch_adapter {

/// The operators as Python functions that go through the dispatcher, without reading the schema of
/// each call as torch.ops does, which takes longer than a short tensor's cast.
void define_operators(pybind11::module_& m);

}  // namespace cpdcomm::torch_adapter
