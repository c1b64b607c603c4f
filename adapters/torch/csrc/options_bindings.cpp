// Options, and the policy of a group: which calls travel in the wire format.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "bindings.hpp"
#include "cpdcomm/communicator.hpp"
#include "cpdcomm/options.hpp"
#include "cpdcomm/threads.hpp"
#include "policy.hpp"

namespace cpdcomm::torch_adapter {
namespace {

/// How an option is set by its name.
using Setter = void (*)(AllreduceOptions&, const std::string&);

const std::map<std::string, Setter>& setters() {
  using Options = AllreduceOptions;
  using Text = const std::string&;
  static const std::map<std::string, Setter> all{
      {"wire", [](Options& o, Text text) { o.wire = Format::parse(text); }},
      {"scaling", [](Options& o, Text text) { o.scaling = parse_scaling(text); }},
      {"accumulate", [](Options& o, Text text) { o.accumulate = parse_accumulate(text); }},
      {"algorithm", [](Options& o, Text text) { o.algorithm = parse_algorithm(text); }},
      {"across", [](Options& o, Text text) { o.across = parse_algorithm(text); }},
      {"inner", [](Options& o, Text text) { o.inner = parse_inner(text); }},
      {"result", [](Options& o, Text text) { o.result = parse_result(text); }},
      {"op", [](Options& o, Text text) { o.op = parse_reduce_op(text); }},
      {"rounding", [](Options& o, Text text) { o.rounding = parse_rounding(text); }},
  };
  return all;
}

/// `base` with what is given put over it.
AllreduceOptions options_over(AllreduceOptions base,
                              const std::map<std::string, OptionalText>& given,
                              std::optional<std::uint32_t> seed) {
  for (const auto& [name, text] : given) {
    if (text) setters().at(name)(base, *text);
  }
  if (seed) base.seed = seed;
  return base;
}

/// What would be refused of a call, without making one: what a rank by itself refuses of empty
/// tensors of these formats, or of one of the options' own where there are none.
void check_options(AllreduceOptions options, const std::vector<OptionalText>& wires) {
  std::vector<Tensor> tensors(std::max<std::size_t>(wires.size(), 1));
  for (std::size_t i = 0; i < wires.size(); ++i) tensors[i].wire = format_of(wires[i]);
  options.emulate_nodes = 1;
  make_thread_communicators(1).front().allreduce(tensors, options);
}

/// A policy with what is given put over it.
Policy policy_over(Policy base, const std::map<std::string, OptionalText>& given,
                   std::optional<std::uint32_t> seed, std::optional<std::size_t> min_bytes,
                   const OptionalText& collectives) {
  base.options = options_over(base.options, given, seed);
  if (collectives) {
    const std::size_t kept = base.selection.min_bytes;
    base.selection = parse_collectives(*collectives);
    base.selection.min_bytes = kept;
  }
  if (min_bytes) base.selection.min_bytes = *min_bytes;
  return base;
}

}  // namespace

void define_options(py::module_& m) {
  py::class_<AllreduceOptions>(m, "AllreduceOptions")
      .def_property_readonly("wire", [](const AllreduceOptions& o) { return o.wire.to_string(); })
      .def_property_readonly("scaling",
                             [](const AllreduceOptions& o) { return to_string(o.scaling); })
      .def_property_readonly("accumulate",
                             [](const AllreduceOptions& o) { return to_string(o.accumulate); })
      .def_property_readonly("algorithm",
                             [](const AllreduceOptions& o) { return to_string(o.algorithm); })
      .def_property_readonly("across",
                             [](const AllreduceOptions& o) { return to_string(o.across); })
      .def_property_readonly("inner",
                             [](const AllreduceOptions& o) {
                               return o.inner ? o.inner->to_string() : std::string("wire");
                             })
      .def_property_readonly("result",
                             [](const AllreduceOptions& o) { return to_string(o.result); })
      .def_property_readonly("op", [](const AllreduceOptions& o) { return to_string(o.op); })
      .def_property_readonly("rounding",
                             [](const AllreduceOptions& o) { return to_string(o.rounding); })
      .def_readonly("seed", &AllreduceOptions::seed)
      .def_property(
          "emulate_nodes", [](const AllreduceOptions& o) { return o.emulate_nodes; },
          [](AllreduceOptions& o, int nodes) { o.emulate_nodes = nodes; })
      .def_property(
          "timeout",
          [](const AllreduceOptions& o) {
            return std::chrono::duration<double>(o.timeout).count();
          },
          [](AllreduceOptions& o, double seconds) { o.timeout = milliseconds_of(seconds); })
      .def("over", &options_over, py::arg("given"), py::arg("seed") = py::none())
      .def("check", &check_options, py::arg("wires") = std::vector<OptionalText>());
  m.def("check_format", [](const std::string& name) { static_cast<void>(Format::parse(name)); });
  py::class_<Policy>(m, "Policy")
      .def(py::init([] {
        return Policy{environment_options(), environment_selection()};
      }))
      .def_readonly("options", &Policy::options)
      .def_property(
          "timeout",
          [](const Policy& p) { return std::chrono::duration<double>(p.options.timeout).count(); },
          [](Policy& p, double seconds) { p.options.timeout = milliseconds_of(seconds); })
      .def_property_readonly("min_bytes", [](const Policy& p) { return p.selection.min_bytes; })
      .def_property_readonly("all_reduce", [](const Policy& p) { return p.selection.all_reduce; })
      .def_property_readonly("reduce_scatter",
                             [](const Policy& p) { return p.selection.reduce_scatter; })
      .def_property_readonly("all_gather", [](const Policy& p) { return p.selection.all_gather; })
      .def("over", &policy_over, py::arg("given"), py::arg("seed") = py::none(),
           py::arg("min_bytes") = py::none(), py::arg("collectives") = py::none());
  m.def("add_context",
        [](const std::map<std::string, OptionalText>& given, std::optional<std::uint32_t> seed,
           std::optional<std::size_t> min_bytes, const OptionalText& collectives) {
          return add_change([=](Policy& policy) {
            policy = policy_over(policy, given, seed, min_bytes, collectives);
          });
        });
  m.def("take_back_context", &take_back);
  m.def("environment_transport", &environment_transport);
}

}  // namespace cpdcomm::torch_adapter
