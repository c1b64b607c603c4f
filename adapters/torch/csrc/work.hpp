#pragma once

#include <sys/types.h>
#include <unistd.h>
#include <torch/csrc/distributed/c10d/Work.hpp>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <vector>

namespace cpdcomm::torch_adapter {

/// One operation; its future holds the output tensors. A profiler sees it from its start to its
/// end, as "cpd:all_reduce".
class Work final : public c10d::Work {
 public:
  /// @param title     outlives the work
  /// @param sequence  of the group's operations
  Work(int rank, c10d::OpType type, const char* title, const std::vector<at::Tensor>& inputs,
       std::vector<at::Tensor> outputs, std::uint64_t sequence);

  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override { return future_; }
  std::vector<at::Tensor> result() override { return outputs_; }
  std::uint64_t getSequencenumber() const override { return sequence_; }
  /// Of a receive from any rank.
  int sourceRank() const override { return source_; }

  /// @throws Error unsupported in a fork of the process that started it
  bool wait(std::chrono::milliseconds timeout) override;

  void succeed();
  void succeed(int source);
  void fail(std::exception_ptr error);

 private:
  const pid_t maker_ = getpid();
  std::vector<at::Tensor> outputs_;
  c10::intrusive_ptr<c10::ivalue::Future> future_;
  std::uint64_t sequence_;
  std::atomic<int> source_{-1};
};

}  // namespace cpdcomm::torch_adapter
