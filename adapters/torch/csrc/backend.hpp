#pragma once

#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Work.hpp>

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "cpdcomm/communicator.hpp"

namespace cpdcomm::torch_adapter {

/// Totals of a group since it began.
struct Stats {
  std::uint64_t calls = 0;          ///< all-reduces
  std::uint64_t wire_bytes = 0;     ///< sent by this rank in them
  std::uint64_t logical_bytes = 0;  ///< their tensors as FP32
};

/// One operation, done on the group's thread; its future holds the output tensors.
class Work final : public c10d::Work {
 public:
  Work(int rank, c10d::OpType type, std::vector<at::Tensor> outputs);
  c10::intrusive_ptr<c10::ivalue::Future> getFuture() override { return future_; }
  std::vector<at::Tensor> result() override { return outputs_; }
  void succeed();
  void fail(std::exception_ptr error);

 private:
  std::vector<at::Tensor> outputs_;
  c10::intrusive_ptr<c10::ivalue::Future> future_;
};

/// What cpdcomm.all_reduce asks for beyond the options of the group. Lists other than `tensors`
/// have one entry per tensor, or none at all.
struct ExplicitCall {
  std::vector<at::Tensor> tensors;
  std::vector<std::optional<Format>> wires;
  std::vector<std::vector<at::Tensor>> nodes;          ///< the emulated nodes' parts
  std::vector<at::Tensor> outputs;                     ///< float32, for the results; else in place
  std::vector<at::Tensor> residuals;                   ///< contiguous, float32: error feedback
  std::vector<std::shared_ptr<ScaleMemory>> memories;  ///< of scaling `delayed`
  int input_exponent = 0;
  int output_exponent = 0;
  AllreduceOptions options;
};

/// The torch.distributed backend "cpd" on CPU tensors. Operations run one after the other, in the
/// order of the calls, on a thread of the group's own.
class Backend final : public c10d::Backend {
 public:
  Backend(Communicator communicator, const AllreduceOptions& defaults);
  ~Backend() override;

  const std::string getBackendName() const override { return "cpd"; }
  const AllreduceOptions& defaults() const { return defaults_; }
  Stats stats() const;

  c10::intrusive_ptr<c10d::Work> allreduce(std::vector<at::Tensor>& tensors,
                                           const c10d::AllreduceOptions& options) override;
  c10::intrusive_ptr<c10d::Work> allreduce_coalesced(
      std::vector<at::Tensor>& tensors, const c10d::AllreduceCoalescedOptions& options) override;
  c10::intrusive_ptr<c10d::Work> broadcast(std::vector<at::Tensor>& tensors,
                                           const c10d::BroadcastOptions& options) override;
  c10::intrusive_ptr<c10d::Work> allgather(std::vector<std::vector<at::Tensor>>& outputs,
                                           std::vector<at::Tensor>& inputs,
                                           const c10d::AllgatherOptions& options) override;
  c10::intrusive_ptr<c10d::Work> _allgather_base(at::Tensor& output, at::Tensor& input,
                                                 const c10d::AllgatherOptions& options) override;
  c10::intrusive_ptr<c10d::Work> barrier(const c10d::BarrierOptions& options) override;
  void setSequenceNumberForGroup() override {}
  std::uint64_t getSequenceNumberForGroup() override;

  /// cpdcomm.all_reduce: waits for its turn and its end.
  Report all_reduce(ExplicitCall call);
  /// Tells the peers, in turn, that this rank's next call is wrong.
  void refuse(const std::string& reason, ErrorCode code = ErrorCode::invalid_argument);

  /// Ends what is under way and everything after it with an error.
  void abort() override;
  /// Finishes what was asked for and lets go of the network.
  void shutdown() override;

  /// At the end of the process: shuts down all groups that are left. MPI must not end before them.
  /// @param clean  false gives up what is under way instead of finishing it
  static void shutdown_all(bool clean);

 private:
  using Job = std::function<void()>;

  template <typename Check>
  void validate(Check&& check);
  c10::intrusive_ptr<Work> start(c10d::OpType type, std::vector<at::Tensor> outputs, Job job);
  c10::intrusive_ptr<Work> reduce(c10d::OpType type, std::vector<at::Tensor> tensors,
                                  const c10d::ReduceOp& op);
  void enqueue(Job job);
  void end();
  void serve();
  void draw_seed(const AllreduceOptions& options);
  std::uint32_t agreed_seed();
  Report allreduce_now(const std::vector<Tensor>& tensors, AllreduceOptions options);
  void count(const Report& report);

  std::unique_ptr<Communicator> communicator_;
  AllreduceOptions defaults_;
  // Of stochastic rounding; the group's thread alone knows them.
  std::optional<std::uint32_t> seed_;  ///< of calls that name none, once the ranks have agreed
  std::uint32_t step_ = 0;             ///< all-reduces done so far

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> queue_;
  bool closing_ = false;
  std::uint64_t sequence_ = 0;
  Stats stats_;
  std::optional<std::uint32_t> drawn_;  ///< rank 0's proposal for seed_
  std::once_flag closed_;
  std::thread thread_;
};

}  // namespace cpdcomm::torch_adapter
