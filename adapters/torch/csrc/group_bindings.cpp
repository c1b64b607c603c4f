// Groups, what they did, and the launcher's ranks.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>

#include <algorithm>
#include <span>

#include "backend.hpp"
#include "bindings.hpp"
#include "connect.hpp"
#include "cpdcomm/world.hpp"

namespace cpdcomm::torch_adapter {
namespace {

/// @param timeout  of one operation, and of making the group, in seconds
c10::intrusive_ptr<Backend> make_backend(const c10::intrusive_ptr<c10d::Store>& store, int rank,
                                         int size, int tag, const std::string& network,
                                         double timeout, const Policy& policy) {
  const Origin origin{network, milliseconds_of(timeout)};
  return c10::make_intrusive<Backend>(store, rank, size, tag, origin, policy);
}

Started all_reduce(Backend& backend, ExplicitCall call, const std::vector<OptionalText>& wires) {
  for (const OptionalText& wire : wires) call.wires.push_back(format_of(wire));
  return backend.start_all_reduce(std::move(call));
}

Started reduce_scatter(Backend& backend, ExplicitCall call, std::vector<std::size_t> ends) {
  return backend.start_reduce_scatter(std::move(call), std::move(ends));
}

Report wait_for(const Started& started) {
  started.work->wait();
  return *started.report;
}

/// @throws torch's own error when that time is over
Report wait_so_long(const Started& started, double seconds) {
  started.work->wait(milliseconds_of(seconds));
  return *started.report;
}

void define_reports(py::module_& m) {
  py::class_<Report>(m, "Report", "What an all-reduce did.")
      .def_property_readonly(
          "algorithm", [](const Report& r) { return to_string(r.algorithm); }, "The one taken.")
      .def_readonly("wire_bytes", &Report::wire_bytes,
                    "Bytes that this rank sent for the call, headers and exponents included; the "
                    "tuning table that a group sends once is not in it.")
      .def_readonly("logical_bytes", &Report::logical_bytes, "The tensors as float32, in bytes.")
      .def_readonly("codec_seconds", &Report::codec_seconds, "Encoding, decoding and adding.")
      .def_readonly("wait_seconds", &Report::wait_seconds, "Waiting for peers' messages.")
      .def_readonly("non_finite", &Report::non_finite,
                    "Per tensor: an Inf or NaN arrived; the same on every rank.")
      .def_readonly("saturated", &Report::saturated,
                    "Per tensor: scaling 'delayed' met a larger value than it expected; the same "
                    "on every rank.")
      .def_readonly("compressed", &Report::compressed,
                    "False where algorithm 'automatic' found that the wire format does not pay.")
      .def("__repr__", [](const Report& r) {
        return "Report(algorithm='" + to_string(r.algorithm) +
               "', wire_bytes=" + std::to_string(r.wire_bytes) +
               ", logical_bytes=" + std::to_string(r.logical_bytes) + ")";
      });
  py::class_<OperationStats>(m, "OperationStats", "Totals of one kind of operation of a group.")
      .def_readonly("calls", &OperationStats::calls, "How many.")
      .def_readonly("compressed", &OperationStats::compressed,
                    "Of them, those with values that travelled in a wire format.")
      .def_readonly("wire_bytes", &OperationStats::wire_bytes, "Bytes sent by this rank.")
      .def_readonly("logical_bytes", &OperationStats::logical_bytes, "The tensors, in bytes.")
      .def("__repr__", [](const OperationStats& s) {
        return "OperationStats(calls=" + std::to_string(s.calls) +
               ", compressed=" + std::to_string(s.compressed) +
               ", wire_bytes=" + std::to_string(s.wire_bytes) +
               ", logical_bytes=" + std::to_string(s.logical_bytes) + ")";
      });
  py::class_<Stats>(m, "Stats", "Totals of a group's all-reduces since it began.")
      .def_readonly("calls", &Stats::calls, "All-reduces.")
      .def_readonly("wire_bytes", &Stats::wire_bytes, "Bytes sent by this rank.")
      .def_readonly("logical_bytes", &Stats::logical_bytes, "The tensors as float32, in bytes.")
      .def_readonly("by_operation", &Stats::by_operation,
                    "The same, and how many were compressed, by torch.distributed's names.");
}

void define_calls(py::module_& m) {
  py::class_<ScaleMemory, std::shared_ptr<ScaleMemory>>(m, "ScaleMemory")
      .def(py::init<>())
      .def_readwrite("known", &ScaleMemory::known)
      .def_readwrite("exponent", &ScaleMemory::exponent);
  py::class_<ExplicitCall>(m, "Call")
      .def(py::init<>())
      .def_readwrite("tensors", &ExplicitCall::tensors)
      .def_readwrite("nodes", &ExplicitCall::nodes)
      .def_readwrite("outputs", &ExplicitCall::outputs)
      .def_readwrite("residuals", &ExplicitCall::residuals)
      .def_readwrite("memories", &ExplicitCall::memories)
      .def_readwrite("input_exponent", &ExplicitCall::input_exponent)
      .def_readwrite("output_exponent", &ExplicitCall::output_exponent)
      .def_readwrite("options", &ExplicitCall::options);
}

void define_pending(py::module_& m) {
  py::class_<Started>(m, "Pending", "A call that was started with async_op.")
      .def("wait", &wait_for, Released(), "Waits for the end: the call's report, or its error.")
      .def("wait", &wait_so_long, py::arg("timeout"), Released(),
           "The same, for at most so many seconds; then it raises, and the call goes on.")
      .def(
          "done", [](const Started& s) { return s.work->isCompleted(); },
          "Whether it has ended, well or not.")
      .def_property_readonly(
          "work", [](const Started& s) { return s.work; },
          "torch.distributed's Work, with get_future() and the like.");
}

void define_backend(py::module_& m) {
  const py::object base = py::module_::import("torch._C._distributed_c10d").attr("Backend");
  py::class_<Backend, c10::intrusive_ptr<Backend>>(m, "Backend", base)
      .def(py::init(&make_backend), py::arg("store"), py::arg("rank"), py::arg("size"),
           py::arg("tag"), py::arg("network"), py::arg("timeout"), py::arg("policy"), Released())
      .def("defaults", &Backend::defaults)
      .def_property_readonly("network", [](const Backend& b) { return b.origin().network; })
      .def("stats", &Backend::stats)
      .def("all_reduce", &all_reduce, py::arg("call"),
           py::arg("wires") = std::vector<OptionalText>(), Released())
      .def("reduce_scatter", &reduce_scatter, py::arg("call"), py::arg("ends"), Released())
      .def(
          "refuse", [](Backend& backend, const std::string& reason) { backend.refuse(reason); },
          Released())
      .def("abort", &Backend::abort, Released())
      .def("shutdown", &Backend::shutdown, Released());
  m.def("refuse_group", &refuse_group, Released());
  m.def("note_ends", &note_ends, py::arg("flat"), py::arg("ends"));
  m.def("shutdown_all", &Backend::shutdown_all, Released());
}

/// For what all processes of the launcher must agree about before there is a store.
std::vector<py::bytes> mpi_allgather(const py::bytes& mine) {
  const std::string own = mine;
  std::vector<std::vector<std::byte>> all;
  {
    const py::gil_scoped_release released;
    all = World::load("mpi").allgather(std::as_bytes(std::span(own)));
  }
  std::vector<py::bytes> answers;
  for (const auto& one : all) {
    answers.emplace_back(reinterpret_cast<const char*>(one.data()), one.size());
  }
  return answers;
}

}  // namespace

void define_groups(py::module_& m) {
  define_reports(m);
  define_calls(m);
  define_pending(m);
  define_backend(m);
}

void define_launch(py::module_& m) {
  m.def("mpi_allgather", &mpi_allgather);
  m.def("mpi_rank", [] { return World::load("mpi").rank(); });
  m.def("mpi_size", [] { return World::load("mpi").size(); });
  m.def("mpi_loaded", [] { return World::is_loaded("mpi"); });
  m.def(
      "mpi_shutdown", [](bool clean) { World::load("mpi").shutdown(clean); }, Released());
}

}  // namespace cpdcomm::torch_adapter
