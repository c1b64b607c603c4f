#include "work.hpp"

#include <string>
#include <utility>

#include "cpdcomm/error.hpp"

namespace cpdcomm::torch_adapter {

Work::Work(int rank, c10d::OpType type, const char* title, const std::vector<at::Tensor>& inputs,
           std::vector<at::Tensor> outputs, std::uint64_t sequence)
    : c10d::Work(rank, type, title, inputs),
      outputs_(std::move(outputs)),
      future_(
          c10::make_intrusive<c10::ivalue::Future>(c10::ListType::create(c10::TensorType::get()))),
      sequence_(sequence) {}

bool Work::wait(std::chrono::milliseconds timeout) {
  if (getpid() == maker_) return c10d::Work::wait(timeout);
  throw Error(ErrorCode::unsupported, "this operation was started by process " +
                                          std::to_string(maker_) + ", of which process " +
                                          std::to_string(getpid()) + " is a fork");
}

void Work::succeed() {
  // The future first: who has waited finds it completed.
  future_->markCompleted(c10::IValue(outputs_));
  finish();
}

void Work::succeed(int source) {
  source_ = source;
  succeed();
}

void Work::fail(std::exception_ptr error) {
  future_->setError(error);
  finish(error);
}

}  // namespace cpdcomm::torch_adapter
