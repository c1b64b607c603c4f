// What Python sees of the library; the package's Python files give it its public names.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>

#include "bindings.hpp"
#include "cpdcomm/codec.hpp"
#include "cpdcomm/error.hpp"
#include "cpdcomm/format.hpp"
#include "cpdcomm/version.hpp"
#include "operators.hpp"

namespace cpdcomm::torch_adapter {
namespace {

/// The Python class for a code; they are defined in errors.py.
const char* class_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::invalid_argument:
      return "InvalidArgumentError";
    case ErrorCode::unsupported:
      return "UnsupportedError";
    case ErrorCode::mismatch:
      return "MismatchError";
    case ErrorCode::timeout:
      return "TimeoutError";
    case ErrorCode::peer_failed:
      return "PeerFailedError";
  }
  return "Error";
}

void translate(std::exception_ptr thrown) {
  try {
    if (thrown) std::rethrow_exception(thrown);
  } catch (const Error& error) {
    const py::object type = py::module_::import("cpdcomm.errors").attr(class_of(error.code()));
    PyErr_SetString(type.ptr(), error.what());
  }
}

/// What the Python side of the tensor functions asks about a format.
void define_formats(py::module_& m) {
  py::class_<FormatInfo>(m, "FormatInfo")
      .def_readonly("bits", &FormatInfo::bits)
      .def_readonly("bits_with_scales", &FormatInfo::bits_with_scales)
      .def_readonly("largest", &FormatInfo::largest)
      .def_readonly("smallest", &FormatInfo::smallest)
      .def_readonly("smallest_normal", &FormatInfo::smallest_normal)
      .def_readonly("epsilon", &FormatInfo::epsilon);
  m.def("info", [](const std::string& name) { return info(Format::parse(name)); });
  m.def("canonical", [](const std::string& name) { return Format::parse(name).to_string(); });
  m.def("blocks", [](const std::string& name) {
    const Format format = Format::parse(name);
    return std::pair(format.block(), format.scale_bytes());
  });
}

}  // namespace

PYBIND11_MODULE(_C, m) {
  py::module_::import("torch");
  py::register_exception_translator(&translate);
  m.attr("__version__") = version();
  m.def("instruction_sets", &instruction_sets);
  define_options(m);
  define_groups(m);
  define_launch(m);
  define_formats(m);
  define_operators(m);
}

}  // namespace cpdcomm::torch_adapter
