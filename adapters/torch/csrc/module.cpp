// What Python sees of the library; the package's Python files give it its public names.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>
#include <torch/torch.h>

#include <algorithm>
#include <map>
#include <numeric>

#include "backend.hpp"
#include "cpdcomm/format.hpp"
#include "cpdcomm/options.hpp"
#include "cpdcomm/threads.hpp"
#include "cpdcomm/version.hpp"
#include "cpdcomm/world.hpp"
#include "operators.hpp"
#include "tensors.hpp"

namespace py = pybind11;

namespace cpdcomm::torch_adapter {
namespace {

using OptionalText = std::optional<std::string>;
using Released = py::call_guard<py::gil_scoped_release>;

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

std::optional<Format> format_of(const OptionalText& wire) {
  return wire ? std::optional(Format::parse(*wire)) : std::nullopt;
}

/// What would be refused of a call, without making one: what a rank by itself refuses of empty
/// tensors of these formats, or of one of the options' own where there are none.
void check_options(AllreduceOptions options, const std::vector<OptionalText>& wires) {
  std::vector<Tensor> tensors(std::max<std::size_t>(wires.size(), 1));
  for (std::size_t i = 0; i < wires.size(); ++i) tensors[i].wire = format_of(wires[i]);
  options.emulate_nodes = 1;
  make_thread_communicators(1).front().allreduce(tensors, options);
}

/// Seconds as the library takes them: at least a millisecond, at most some thirty years.
std::chrono::milliseconds milliseconds_of(double seconds) {
  return std::chrono::milliseconds(static_cast<long long>(std::clamp(seconds, 1e-3, 1e9) * 1e3));
}

CommunicatorOptions communicator_options(const AllreduceOptions& options, double timeout) {
  CommunicatorOptions made;
  // MPI's own all-reduce would wait for ever for a rank that is wrong or gone.
  made.check = true;
  if (timeout > 0) made.timeout = milliseconds_of(timeout);
  if (options.timeout.count() > 0) made.timeout = options.timeout;
  return made;
}

c10::intrusive_ptr<Backend> backend_over_mpi(const std::vector<int>& ranks, int tag,
                                             const AllreduceOptions& options, double timeout) {
  return c10::make_intrusive<Backend>(
      World::load("mpi").connect(ranks, tag, communicator_options(options, timeout)), options);
}

c10::intrusive_ptr<Backend> backend_of_one(const AllreduceOptions& options) {
  return c10::make_intrusive<Backend>(std::move(make_thread_communicators(1).front()), options);
}

Report all_reduce(Backend& backend, ExplicitCall call, const std::vector<OptionalText>& wires) {
  for (const OptionalText& wire : wires) call.wires.push_back(format_of(wire));
  return backend.all_reduce(std::move(call));
}

/// All ranks that the launcher started, for what they must agree about before there is a store.
class AllRanks {
 public:
  AllRanks() : communicator_(connect_all()) {}
  int rank() const { return communicator_.rank(); }
  int size() const { return communicator_.size(); }

  std::string broadcast(std::string text) {
    std::uint64_t length = text.size();
    communicator_.broadcast(std::as_writable_bytes(std::span(&length, 1)), 0);
    text.resize(length);
    communicator_.broadcast(std::as_writable_bytes(std::span(text)), 0);
    return text;
  }
  std::vector<std::uint64_t> allgather(std::uint64_t mine) {
    std::vector<std::uint64_t> all(static_cast<std::size_t>(size()));
    communicator_.allgather(std::as_bytes(std::span(&mine, 1)),
                            std::as_writable_bytes(std::span(all)));
    return all;
  }

 private:
  static Communicator connect_all() {
    const World world = World::load("mpi");
    std::vector<int> ranks(static_cast<std::size_t>(world.size()));
    std::iota(ranks.begin(), ranks.end(), 0);
    return world.connect(ranks, 0, {.timeout = std::chrono::minutes(2), .check = true});
  }

  Communicator communicator_;
};

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
  m.def("environment_options", &environment_options);
  m.def("check_format", [](const std::string& name) { static_cast<void>(Format::parse(name)); });
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
  py::class_<Stats>(m, "Stats", "Totals of a group's all-reduces since it began.")
      .def_readonly("calls", &Stats::calls, "All-reduces.")
      .def_readonly("wire_bytes", &Stats::wire_bytes, "Bytes sent by this rank.")
      .def_readonly("logical_bytes", &Stats::logical_bytes, "The tensors as float32, in bytes.");
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

void define_backend(py::module_& m) {
  const py::object base = py::module_::import("torch._C._distributed_c10d").attr("Backend");
  py::class_<Backend, c10::intrusive_ptr<Backend>>(m, "Backend", base)
      .def("defaults", &Backend::defaults, py::return_value_policy::copy)
      .def("stats", &Backend::stats)
      .def("all_reduce", &all_reduce, py::arg("call"),
           py::arg("wires") = std::vector<OptionalText>(), Released())
      .def(
          "refuse", [](Backend& backend, const std::string& reason) { backend.refuse(reason); },
          Released())
      .def("abort", &Backend::abort, Released())
      .def("shutdown", &Backend::shutdown, Released());
  m.def("shutdown_all", &Backend::shutdown_all, Released());
  m.def("backend_over_mpi", &backend_over_mpi, Released());
  m.def("backend_of_one", &backend_of_one, Released());
}

void define_launch(py::module_& m) {
  py::class_<AllRanks>(m, "AllRanks")
      .def(py::init<>(), Released())
      .def_property_readonly("rank", &AllRanks::rank)
      .def_property_readonly("size", &AllRanks::size)
      .def("broadcast",
           [](AllRanks& ranks, const py::bytes& text) {
             std::string all = text;
             {
               const py::gil_scoped_release released;
               all = ranks.broadcast(std::move(all));
             }
             return py::bytes(all);
           })
      .def("allgather", &AllRanks::allgather, Released());
  m.def("mpi_rank", [] { return World::load("mpi").rank(); });
  m.def("mpi_size", [] { return World::load("mpi").size(); });
  m.def("mpi_loaded", [] { return World::is_loaded("mpi"); });
  m.def(
      "mpi_shutdown", [](bool clean) { World::load("mpi").shutdown(clean); }, Released());
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
  define_options(m);
  define_reports(m);
  define_calls(m);
  define_backend(m);
  define_launch(m);
  define_formats(m);
  define_operators(m);
}

}  // namespace cpdcomm::torch_adapter
