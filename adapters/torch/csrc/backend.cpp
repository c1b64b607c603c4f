#include "backend.hpp"

#include <ATen/CPUGeneratorImpl.h>
#include <pybind11/pybind11.h>

#include <future>
#include <set>

#include "tensors.hpp"

namespace cpdcomm::torch_adapter {
namespace {

using c10d::OpType;

/// torch's operator for tensors of one type. Of bools, sums and products are "or" and "and".
ReduceOp op_of(const c10d::ReduceOp& op, bool is_bool) {
  switch (static_cast<c10d::ReduceOp::RedOpType>(op)) {
    case c10d::ReduceOp::SUM:
      return is_bool ? ReduceOp::max : ReduceOp::sum;
    case c10d::ReduceOp::PRODUCT:
      return is_bool ? ReduceOp::min : ReduceOp::product;
    case c10d::ReduceOp::AVG:
      return ReduceOp::average;
    case c10d::ReduceOp::MIN:
      return ReduceOp::min;
    case c10d::ReduceOp::MAX:
      return ReduceOp::max;
    case c10d::ReduceOp::BAND:
      return ReduceOp::bit_and;
    case c10d::ReduceOp::BOR:
      return ReduceOp::bit_or;
    case c10d::ReduceOp::BXOR:
      return ReduceOp::bit_xor;
    default:
      throw Error(ErrorCode::unsupported,
                  "backend cpd reduces with SUM, AVG, PRODUCT, MIN, MAX, BAND, BOR and BXOR");
  }
}

void check_one(const std::vector<at::Tensor>& tensors, const char* what) {
  if (tensors.size() == 1) return;
  throw Error(ErrorCode::invalid_argument, std::string(what) + " takes one tensor a call, not " +
                                               std::to_string(tensors.size()));
}

std::vector<Tensor> tensors_of(const Contiguous& dense) {
  std::vector<Tensor> tensors;
  for (std::size_t i = 0; i < dense.size(); ++i) {
    tensors.push_back({.data = dense[i].data_ptr(),
                       .count = static_cast<std::size_t>(dense[i].numel()),
                       .type = data_type_of(dense[i])});
  }
  return tensors;
}

/// The library's view of a call's tensors, and the memory that it refers to.
class CallTensors {
 public:
  explicit CallTensors(const ExplicitCall& call)
      : inputs_(call.outputs.empty() ? std::vector<at::Tensor>() : call.tensors),
        outputs_(call.outputs.empty() ? call.tensors : call.outputs),
        tensors_(tensors_of(outputs_)),
        nodes_(call.nodes.size()) {
    if (inputs_.size() != 0) read_from_inputs();
    for (std::size_t i = 0; i < call.nodes.size(); ++i) take_nodes(i, call.nodes[i]);
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      Tensor& tensor = tensors_[i];
      if (!call.wires.empty()) tensor.wire = call.wires[i];
      if (!call.residuals.empty()) tensor.residual = call.residuals[i].data_ptr<float>();
      if (!call.memories.empty()) tensor.memory = call.memories[i].get();
      tensor.input_exponent = call.input_exponent;
      tensor.output_exponent = call.output_exponent;
    }
  }

  const std::vector<Tensor>& tensors() const { return tensors_; }
  void copy_back() const { outputs_.copy_back(); }

 private:
  void read_from_inputs() {
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
      if (tensors_[i].count == 0) continue;  // no memory, and so no input
      tensors_[i].input = inputs_[i].data_ptr();
      tensors_[i].input_type = data_type_of(inputs_[i]);
    }
  }

  void take_nodes(std::size_t i, const std::vector<at::Tensor>& nodes) {
    const Contiguous& parts = parts_.emplace_back(nodes);
    for (std::size_t n = 0; n < parts.size(); ++n) nodes_[i].push_back(parts[n].data_ptr());
    tensors_[i].nodes = nodes_[i];
  }

  Contiguous inputs_;
  Contiguous outputs_;
  std::vector<Tensor> tensors_;
  std::vector<Contiguous> parts_;
  std::vector<std::vector<const void*>> nodes_;
};

void check_all_cpu(const std::vector<at::Tensor>& tensors) {
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    check_cpu(tensors[i], "tensor " + std::to_string(i));
  }
}

void check_gathered(const std::vector<std::vector<at::Tensor>>& outputs,
                    const std::vector<at::Tensor>& inputs, int ranks) {
  check_one(inputs, "allgather");
  check_all_cpu(inputs);
  if (outputs.size() != 1 || outputs[0].size() != static_cast<std::size_t>(ranks)) {
    throw Error(ErrorCode::invalid_argument,
                "allgather needs " + std::to_string(ranks) + " output tensors, one for each rank");
  }
  check_all_cpu(outputs[0]);
  for (const at::Tensor& place : outputs[0]) {
    if (place.numel() != inputs[0].numel() || place.scalar_type() != inputs[0].scalar_type()) {
      throw Error(ErrorCode::invalid_argument,
                  "allgather's outputs must have the input's size and dtype");
    }
  }
}

void check_gathered(const at::Tensor& output, const at::Tensor& input, int ranks) {
  check_all_cpu({output, input});
  if (output.numel() == input.numel() * ranks && output.scalar_type() == input.scalar_type())
    return;
  throw Error(ErrorCode::invalid_argument, "all_gather_into_tensor's output must have " +
                                               std::to_string(ranks) +
                                               " times the input's values, in its dtype");
}

/// A word of torch's default CPU generator, the one that torch.manual_seed sets.
std::uint32_t draw_word() {
  at::Generator generator = at::detail::getDefaultCPUGenerator();
  const std::lock_guard lock(generator.mutex());
  return at::check_generator<at::CPUGeneratorImpl>(generator)->random();
}

/// The groups of this process; torch keeps them, so Python cannot count them.
struct Live {
  std::mutex mutex;
  std::set<Backend*> backends;
};

Live& live() {
  static auto* const all = new Live;  // outlives every group
  return *all;
}

}  // namespace

Work::Work(int rank, OpType type, std::vector<at::Tensor> outputs)
    : c10d::Work(rank, type),
      outputs_(std::move(outputs)),
      future_(
          c10::make_intrusive<c10::ivalue::Future>(c10::ListType::create(c10::TensorType::get()))) {
}

void Work::succeed() {
  finish();
  future_->markCompleted(c10::IValue(outputs_));
}

void Work::fail(std::exception_ptr error) {
  finish(error);
  future_->setError(error);
}

Backend::Backend(Communicator communicator, const AllreduceOptions& defaults)
    : c10d::Backend(communicator.rank(), communicator.size()),
      communicator_(std::make_unique<Communicator>(std::move(communicator))),
      defaults_(defaults),
      thread_([this] { serve(); }) {
  const std::lock_guard lock(live().mutex);
  live().backends.insert(this);
}

Backend::~Backend() {
  // A job's callbacks may want the interpreter, which must not wait for them while it is held.
  std::optional<pybind11::gil_scoped_release> released;
  if (Py_IsInitialized() != 0 && PyGILState_Check() != 0) released.emplace();
  {
    const std::lock_guard lock(live().mutex);
    live().backends.erase(this);
  }
  shutdown();
}

void Backend::shutdown_all(bool clean) {
  const std::lock_guard lock(live().mutex);
  for (Backend* backend : live().backends) {
    if (!clean) backend->abort();
    backend->end();
    backend->shutdown();
  }
}

/// Peers that wait for this rank's next call wait for nothing.
void Backend::end() {
  {
    const std::lock_guard lock(mutex_);
    if (closing_) return;
  }
  refuse("its process has ended", ErrorCode::peer_failed);
}

void Backend::shutdown() {
  if (thread_.get_id() == std::this_thread::get_id()) {
    throw Error(ErrorCode::unsupported,
                "a group cannot be shut down from a callback of one of its own operations");
  }
  std::call_once(closed_, [this] {
    {
      const std::lock_guard lock(mutex_);
      closing_ = true;
    }
    wake_.notify_all();
    thread_.join();
    const std::lock_guard lock(mutex_);
    communicator_.reset();
  });
}

void Backend::abort() {
  const std::lock_guard lock(mutex_);
  if (communicator_) communicator_->abort();
}

void Backend::serve() {
  while (true) {
    Job job;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return closing_ || !queue_.empty(); });
      if (queue_.empty()) return;
      job = std::move(queue_.front());
      queue_.pop_front();
    }
    job();
  }
}

void Backend::enqueue(Job job) {
  {
    const std::lock_guard lock(mutex_);
    if (closing_) {
      throw Error(ErrorCode::peer_failed, "this process group has been shut down");
    }
    queue_.push_back(std::move(job));
    ++sequence_;
  }
  wake_.notify_all();
}

std::uint64_t Backend::getSequenceNumberForGroup() {
  const std::lock_guard lock(mutex_);
  return sequence_;
}

Stats Backend::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}

/// Rank 0 draws a seed where the group needs one: once, on the caller's thread, so that it has its
/// place among what else the caller draws.
void Backend::draw_seed(const AllreduceOptions& options) {
  if (options.rounding != Rounding::stochastic || options.seed || getRank() != 0) return;
  const std::lock_guard lock(mutex_);
  if (!drawn_) drawn_ = draw_word();
}

/// The seed that rank 0 drew. In an allgather every rank meets every other, so that all of them
/// learn of one that refuses; the root of a broadcast would not.
std::uint32_t Backend::agreed_seed() {
  if (seed_) return *seed_;
  std::uint32_t mine = 0;
  {
    const std::lock_guard lock(mutex_);
    mine = drawn_.value_or(0);
  }
  std::vector<std::uint32_t> all(static_cast<std::size_t>(getSize()));
  communicator_->allgather(std::as_bytes(std::span(&mine, 1)),
                           std::as_writable_bytes(std::span(all)));
  seed_ = all.front();
  return *seed_;
}

/// On the group's thread: an all-reduce with its seed and step. A step counts when it is done: a
/// call that one rank refuses fails on all of them, and none has counted it.
Report Backend::allreduce_now(const std::vector<Tensor>& tensors, AllreduceOptions options) {
  const bool stochastic = options.rounding == Rounding::stochastic;
  if (stochastic) {
    if (!options.seed) options.seed = agreed_seed();
    options.step = step_;
  }
  const Report report = communicator_->allreduce(tensors, options);
  if (stochastic) ++step_;
  count(report);
  return report;
}

void Backend::count(const Report& report) {
  const std::lock_guard lock(mutex_);
  ++stats_.calls;
  stats_.wire_bytes += report.wire_bytes;
  stats_.logical_bytes += report.logical_bytes;
}

/// What `check` throws is this rank's own fault; the peers learn of it.
template <typename Check>
void Backend::validate(Check&& check) {
  try {
    check();
  } catch (const Error& error) {
    refuse(error.what());
    throw;
  }
}

/// `job` runs on the group's thread; what it throws reaches whoever waits for the work.
c10::intrusive_ptr<Work> Backend::start(OpType type, std::vector<at::Tensor> outputs, Job job) {
  auto work = c10::make_intrusive<Work>(getRank(), type, std::move(outputs));
  enqueue([work, job = std::move(job)] {
    try {
      job();
    } catch (...) {
      work->fail(std::current_exception());
      return;
    }
    work->succeed();
  });
  return work;
}

c10::intrusive_ptr<Work> Backend::reduce(OpType type, std::vector<at::Tensor> tensors,
                                         const c10d::ReduceOp& op) {
  AllreduceOptions options = defaults_;
  validate([&] {
    check_all_cpu(tensors);
    bool is_bool = !tensors.empty();
    for (const at::Tensor& tensor : tensors) {
      is_bool = is_bool && tensor.scalar_type() == at::kBool;
      static_cast<void>(data_type_of(tensor));
    }
    options.op = op_of(op, is_bool);
  });
  draw_seed(options);
  return start(type, tensors, [this, tensors, options] {
    const Contiguous dense(tensors);
    allreduce_now(tensors_of(dense), options);
    dense.copy_back();
  });
}

c10::intrusive_ptr<c10d::Work> Backend::allreduce(std::vector<at::Tensor>& tensors,
                                                  const c10d::AllreduceOptions& options) {
  validate([&] { check_one(tensors, "allreduce"); });
  return reduce(OpType::ALLREDUCE, tensors, options.reduceOp);
}

c10::intrusive_ptr<c10d::Work> Backend::allreduce_coalesced(
    std::vector<at::Tensor>& tensors, const c10d::AllreduceCoalescedOptions& options) {
  return reduce(OpType::ALLREDUCE_COALESCED, tensors, options.reduceOp);
}

c10::intrusive_ptr<c10d::Work> Backend::broadcast(std::vector<at::Tensor>& tensors,
                                                  const c10d::BroadcastOptions& options) {
  validate([&] {
    check_one(tensors, "broadcast");
    check_all_cpu(tensors);
  });
  const int root = static_cast<int>(options.rootRank);
  return start(OpType::BROADCAST, tensors, [this, tensors, root] {
    const Contiguous dense(tensors);
    communicator_->broadcast(bytes_of(dense[0]), root);
    dense.copy_back();
  });
}

c10::intrusive_ptr<c10d::Work> Backend::allgather(std::vector<std::vector<at::Tensor>>& outputs,
                                                  std::vector<at::Tensor>& inputs,
                                                  const c10d::AllgatherOptions& /*options*/) {
  validate([&] { check_gathered(outputs, inputs, getSize()); });
  const std::vector<at::Tensor> places = outputs[0];
  const at::Tensor input = inputs[0];
  return start(OpType::ALLGATHER, places, [this, places, input] {
    const at::NoGradGuard no_grad;
    const at::Tensor mine = input.detach().contiguous();
    const at::Tensor all = at::empty({getSize(), mine.numel()}, mine.options());
    communicator_->allgather(bytes_of(mine), bytes_of(all));
    for (std::size_t i = 0; i < places.size(); ++i) {
      places[i].detach().copy_(all[static_cast<std::int64_t>(i)].view(places[i].sizes()));
    }
  });
}

c10::intrusive_ptr<c10d::Work> Backend::_allgather_base(at::Tensor& output, at::Tensor& input,
                                                        const c10d::AllgatherOptions& /*options*/) {
  validate([&] { check_gathered(output, input, getSize()); });
  const at::Tensor from = input;
  const std::vector<at::Tensor> to = {output};
  return start(OpType::_ALLGATHER_BASE, to, [this, from, to] {
    const Contiguous dense(to);
    communicator_->allgather(bytes_of(from.detach().contiguous()), bytes_of(dense[0]));
    dense.copy_back();
  });
}

c10::intrusive_ptr<c10d::Work> Backend::barrier(const c10d::BarrierOptions& /*options*/) {
  return start(OpType::BARRIER, {}, [this] { communicator_->barrier(); });
}

Report Backend::all_reduce(ExplicitCall call) {
  validate([&] {
    check_all_cpu(call.tensors);
    check_all_cpu(call.outputs);
  });
  draw_seed(call.options);
  std::promise<Report> done;
  // The call waits here, and with it lives all that its tensors refer to.
  enqueue([&] {
    try {
      const CallTensors made(call);
      const Report report = allreduce_now(made.tensors(), call.options);
      made.copy_back();
      done.set_value(report);
    } catch (...) {
      done.set_exception(std::current_exception());
    }
  });
  return done.get_future().get();
}

void Backend::refuse(const std::string& reason, ErrorCode code) {
  enqueue([this, reason, code] { communicator_->refuse(reason, code); });
}

}  // namespace cpdcomm::torch_adapter
