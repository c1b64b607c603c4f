#pragma once

#include <pybind11/pybind11.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>

#include "cpdcomm/format.hpp"

// The parts of the module `_C`.
namespace cpdcomm::torch_adapter {

namespace py = pybind11;

using OptionalText = std::optional<std::string>;
using Released = py::call_guard<py::gil_scoped_release>;

inline std::optional<Format> format_of(const OptionalText& wire) {
  return wire ? std::optional(Format::parse(*wire)) : std::nullopt;
}

/// Seconds as the library takes them: at least a millisecond, at most some thirty years.
inline std::chrono::milliseconds milliseconds_of(double seconds) {
  return std::chrono::milliseconds(static_cast<long long>(std::clamp(seconds, 1e-3, 1e9) * 1e3));
}

void define_options(py::module_& m);
void define_groups(py::module_& m);
void define_launch(py::module_& m);

}  // namespace cpdcomm::torch_adapter
