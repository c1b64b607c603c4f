#pragma once

#include <ATen/ThreadLocalState.h>

#include <string>
#include <utility>

#include "backend.hpp"

// How the files of Backend start operations.
namespace cpdcomm::torch_adapter {

/// What an operation did, and whether it was asked to do that in a wire format.
struct Done {
  Report report;
  bool low_precision = false;

  /// Of an operation in parts: the next of them.
  void add(const Done& part) {
    report.wire_bytes += part.report.wire_bytes;
    report.logical_bytes += part.report.logical_bytes;
    low_precision = low_precision || (part.low_precision && part.report.compressed);
  }
};

/// What `check` throws is this rank's own fault; the peers learn of it.
template <typename Check>
void Backend::validate(Check&& check) {
  require_own();
  try {
    check();
  } catch (const std::exception& error) {
    refuse(error.what());
    throw;
  }
}

template <typename Job>
Backend::WorkPtr Backend::start(const Name& name, const Tensors& inputs, Tensors outputs, Job job) {
  require_own();
  std::uint64_t sequence = 0;
  {
    const std::lock_guard lock(mutex_);
    sequence = ++sequence_;
  }
  auto work = c10::make_intrusive<Work>(getRank(), name.type, name.title, inputs,
                                        std::move(outputs), sequence);
  // Inference mode and the like are the caller's.
  enqueue([this, work, title = name.title, job = std::move(job), state = at::ThreadLocalState()] {
    called_ = false;
    try {
      const at::ThreadLocalStateGuard as_the_caller(state);
      const Done done = job();
      count(title, done.report, done.low_precision);
    } catch (...) {
      refuse_unless_called();
      work->fail(std::current_exception());
      return;
    }
    work->succeed();
  });
  return work;
}

}  // namespace cpdcomm::torch_adapter
