#pragma once

#include <sys/types.h>
#include <unistd.h>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "connect.hpp"
#include "cpdcomm/communicator.hpp"
#include "explicit_call.hpp"
#include "group_thread.hpp"
#include "policy.hpp"
#include "stats.hpp"
#include "work.hpp"

namespace cpdcomm::torch_adapter {

/// An operation that was started, and what it will have done.
struct Started {
  c10::intrusive_ptr<c10d::Work> work;
  std::shared_ptr<Report> report;
};

struct Done;

/// The torch.distributed backend "cpd" on CPU tensors. Collectives run one after the other, in the
/// order of the calls, on a thread of the group's own; messages between two ranks go beside them.
class Backend final : public c10d::Backend {
 public:
  using Tensors = std::vector<at::Tensor>;
  using TensorLists = std::vector<Tensors>;
  using WorkPtr = c10::intrusive_ptr<c10d::Work>;

  /// A group of the ranks that share a store; all of them call.
  Backend(const c10::intrusive_ptr<c10d::Store>& store, int rank, int size, int tag, Origin origin,
          const Policy& policy);
  ~Backend() override;

  const std::string getBackendName() const override { return "cpd"; }
  const Origin& origin() const { return origin_; }
  /// What cpdcomm.all_reduce takes where the call says nothing.
  AllreduceOptions defaults() const { return in_force(policy_).options; }
  Stats stats() const;

  // Reductions: reductions.cpp.
  WorkPtr allreduce(Tensors& tensors, const c10d::AllreduceOptions& options) override;
  WorkPtr allreduce_coalesced(Tensors& tensors,
                              const c10d::AllreduceCoalescedOptions& options) override;
  WorkPtr allreduce_sparse(Tensors& tensors, const c10d::AllreduceOptions& options) override;
  WorkPtr reduce(Tensors& tensors, const c10d::ReduceOptions& options) override;
  WorkPtr reduce_scatter(Tensors& outputs, TensorLists& inputs,
                         const c10d::ReduceScatterOptions& options) override;
  WorkPtr _reduce_scatter_base(at::Tensor& output, at::Tensor& input,
                               const c10d::ReduceScatterOptions& options) override;
  WorkPtr reduce_scatter_tensor_coalesced(Tensors& outputs, Tensors& inputs,
                                          const c10d::ReduceScatterOptions& options) override;

  // What moves tensors as they are: movements.cpp.
  WorkPtr broadcast(Tensors& tensors, const c10d::BroadcastOptions& options) override;
  WorkPtr allgather(TensorLists& outputs, Tensors& inputs,
                    const c10d::AllgatherOptions& options) override;
  WorkPtr _allgather_base(at::Tensor& output, at::Tensor& input,
                          const c10d::AllgatherOptions& options) override;
  WorkPtr allgather_coalesced(TensorLists& outputs, Tensors& inputs,
                              const c10d::AllgatherOptions& options) override;
  WorkPtr allgather_into_tensor_coalesced(Tensors& outputs, Tensors& inputs,
                                          const c10d::AllgatherOptions& options) override;
  WorkPtr gather(TensorLists& outputs, Tensors& inputs,
                 const c10d::GatherOptions& options) override;
  WorkPtr scatter(Tensors& outputs, TensorLists& inputs,
                  const c10d::ScatterOptions& options) override;
  WorkPtr alltoall(Tensors& outputs, Tensors& inputs,
                   const c10d::AllToAllOptions& options) override;
  WorkPtr alltoall_base(at::Tensor& output, at::Tensor& input,
                        std::vector<std::int64_t>& output_sizes,
                        std::vector<std::int64_t>& input_sizes,
                        const c10d::AllToAllOptions& options) override;
  WorkPtr barrier(const c10d::BarrierOptions& options) override;

  // Messages between two ranks: messages.cpp.
  WorkPtr send(Tensors& tensors, int peer, int tag) override;
  WorkPtr recv(Tensors& tensors, int peer, int tag) override;
  WorkPtr recvAnysource(Tensors& tensors, int tag) override;
  void monitoredBarrier(const c10d::BarrierOptions& options, bool wait_for_all) override;

  void setSequenceNumberForGroup() override {}
  std::uint64_t getSequenceNumberForGroup() override;
  void setTimeout(std::chrono::milliseconds timeout) override;
  c10::intrusive_ptr<Options> getBackendOptions() override;

  bool supportsSplitting() const override { return true; }
  c10::intrusive_ptr<c10d::Backend> split(const c10::intrusive_ptr<c10d::Store>& store,
                                          const std::vector<int>& ranks,
                                          const c10::intrusive_ptr<Options>& options) override;

  /// cpdcomm.all_reduce and cpdcomm.reduce_scatter: the report is filled in when the work is done.
  Started start_all_reduce(ExplicitCall call);
  Started start_reduce_scatter(ExplicitCall call, std::vector<std::size_t> ends);
  /// Tells the peers, in turn, that this rank's next call is wrong.
  void refuse(const std::string& reason, ErrorCode code = ErrorCode::invalid_argument);

  /// Ends what is under way and everything after it with an error. Nothing in a fork.
  void abort() override;
  /// Finishes what was asked for and lets go of the network. Nothing in a fork.
  void shutdown() override;

  /// At the end of the process: shuts down all groups of its own that are left. MPI must not end
  /// before them.
  /// @param clean  false gives up what is under way instead of finishing it
  static void shutdown_all(bool clean);

  /// Which group's message this thread tells the end of; nullptr: none's.
  static void set_in_callback_of(const Backend* backend) { in_callback_of_ = backend; }

  /// Whether another process made the group, of which this one is a fork.
  bool is_inherited() const;

 private:
  using Milliseconds = std::chrono::milliseconds;

  /// What names an operation: for profilers, and for stats.
  struct Name {
    c10d::OpType type;
    const char* title;  ///< "cpd:all_reduce"
  };
  /// A tensor, and where those of all ranks go, one after the other.
  struct Gathering {
    at::Tensor input;
    Tensors places;
    AllreduceOptions options = {};
  };
  /// Tensors of an all-reduce that travel alike.
  struct Part {
    Tensors tensors;
    AllreduceOptions options;
  };
  /// A tensor with a share for each rank, and where this rank's goes.
  struct Scattering {
    at::Tensor input;
    at::Tensor output;
    AllreduceOptions options = {};
  };

  template <typename Check>
  void validate(Check&& check);
  /// `job` runs on the group's thread and returns a Report; what it throws reaches whoever waits.
  template <typename Job>
  WorkPtr start(const Name& name, const Tensors& inputs, Tensors outputs, Job job);
  WorkPtr start_reduce(const Name& name, Tensors tensors, const c10d::ReduceOp& op,
                       Milliseconds timeout);
  WorkPtr start_reduce_scatter(const Name& name, const Tensors& outputs, const Tensors& inputs,
                               const c10d::ReduceScatterOptions& options);
  WorkPtr start_uneven_reduce_scatter(const Name& name, const at::Tensor& output,
                                      const Tensors& inputs,
                                      const c10d::ReduceScatterOptions& options);
  WorkPtr start_allgather(const Name& name, Tensors outputs, std::vector<Gathering> gatherings,
                          Milliseconds timeout);
  Report exchange(const Tensors& outputs, const Tensors& inputs, Milliseconds timeout);
  WorkPtr start_message(const Name& name, const Tensors& tensors, int peer, int tag);
  void enqueue(GroupThread::Job job);
  void require_own() const;
  void end();
  void print_totals() const;
  Communicator& communicator();
  void more_calls_follow() { called_ = false; }
  void refuse_unless_called();

  std::vector<Part> parts_of(const Tensors& tensors, ReduceOp op) const;
  Scattering scattering_of(const at::Tensor& input, const at::Tensor& output,
                           const c10d::ReduceScatterOptions& options) const;
  void check_alike(const std::vector<std::int64_t>& sizes, Milliseconds timeout);
  void draw_seed(const AllreduceOptions& options);
  std::uint32_t agreed_seed(Milliseconds timeout);
  AllreduceOptions with_draws(AllreduceOptions options);
  void count_draws(const AllreduceOptions& options);
  Done reduce_now(const Part& part);
  Done scatter_now(const Scattering& scattering, bool more);
  Report allreduce_now(const std::vector<Tensor>& tensors, AllreduceOptions options);
  Report reduce_scatter_now(const ExplicitCall& call, const std::vector<std::size_t>& ends,
                            bool more);
  Report sum_sparse(const at::Tensor& tensor, Milliseconds timeout);
  void count(const char* title, const Report& report, bool asked);
  Milliseconds timeout_of(Milliseconds asked) const;
  void limit(AllreduceOptions& options, Milliseconds asked) const;

  static thread_local const Backend* in_callback_of_;

  const pid_t maker_ = getpid();
  std::unique_ptr<Communicator> communicator_;
  Origin origin_;
  Policy policy_;
  // What the group's thread alone knows: whether the call that the peers make as well is made, and
  // of stochastic rounding
  bool called_ = false;
  std::optional<std::uint32_t> seed_;  ///< of calls that name none, once the ranks have agreed
  std::uint32_t step_ = 0;             ///< all-reduces done so far

  mutable std::mutex mutex_;
  std::uint64_t sequence_ = 0;
  Milliseconds timeout_{0};  ///< set later than the group was made; 0: none
  Stats stats_;
  std::optional<std::uint32_t> drawn_;  ///< rank 0's proposal for seed_
  std::once_flag closed_;
  std::unique_ptr<GroupThread> thread_ = std::make_unique<GroupThread>();
};

}  // namespace cpdcomm::torch_adapter
