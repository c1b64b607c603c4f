#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cpdcomm/error.hpp"
#include "cpdcomm/export.hpp"
#include "cpdcomm/options.hpp"

namespace cpdcomm {

namespace transport {
class Transport;
}

/// Element types. Floats up to 32 bits can be summed in a wire format; the others are exact.
enum class DataType { fp32, bf16, fp16, fp64, int8, uint8, int16, int32, int64 };

/// Bytes of one element.
CPDCOMM_API std::size_t size_of(DataType type);
/// The type's name as it is written in source ("fp32", ...).
CPDCOMM_API std::string to_string(DataType type);

/// What `delayed` scaling remembers of a tensor between calls. Every rank gets the same.
struct ScaleMemory {
  bool known = false;         ///< whether a call has been; the first one scales as `aps` does
  std::int16_t exponent = 0;  ///< ceil(log2(largest magnitude * ranks)) of the last call
};

/// One contiguous tensor of a call, reduced in place or from one buffer into another.
struct Tensor {
  void* data = nullptr;  ///< `count` elements: this rank's part on entry, the result on return
  std::size_t count = 0;
  DataType type = DataType::fp32;
  /// Another wire format than the call's, for layers that are exempt from compression.
  std::optional<Format> wire = {};
  /// With AllreduceOptions::emulate_nodes = N > 1: the parts of N micro-batches, in their order,
  /// each `count` elements; they are read and `data` is only written. Else empty.
  std::span<const void* const> nodes = {};
  /// Where this rank's part is, `count` elements that are only read; then `data` is only written.
  /// It is `data` itself or does not overlap it. Null: the part is in `data`.
  const void* input = nullptr;
  /// Of `input`, where that is fp16 or bf16 and `data` is fp32.
  std::optional<DataType> input_type = {};
  /// Error feedback (F. Seide, H. Fu, J. Droppo, G. Li, D. Yu, 1-bit stochastic gradient descent,
  /// Interspeech 2014): `count` values that the caller keeps from call to call, zeros at first.
  /// They are added to this rank's part, and become what encoding it has lost; of a tensor that is
  /// not finite they stay as they are. Null: none.
  float* residual = nullptr;
  /// Powers of two that this rank's part and the sum are multiplied by, with no extra rounding
  /// where the tensor is scaled (loss scaling).
  int input_exponent = 0;
  int output_exponent = 0;
  /// Of `delayed` scaling, kept by the caller from call to call.
  ScaleMemory* memory = nullptr;
};

/// What an all-reduce did.
struct Report {
  Algorithm algorithm = Algorithm::automatic;  ///< the one taken; `exchange` counts as `direct`
  /// Sent by this rank for this call, headers and exponents included: the same for the same call.
  /// Not in it is what a communicator sends once, the tuning table before the first sum, and what
  /// ranks say to peers that they have waited for long.
  std::uint64_t wire_bytes = 0;
  std::uint64_t logical_bytes = 0;  ///< the tensors' values as FP32 (or their own exact type)
  double codec_seconds = 0;         ///< encoding, decoding and adding
  double wait_seconds = 0;          ///< nothing to do until a peer's message comes
  /// Per tensor: an Inf or NaN arrived, the same on every rank. Empty where `algorithm` is native:
  /// MPI does not tell, and to search costs time.
  std::vector<bool> non_finite;
  std::vector<bool> saturated;  ///< per tensor: `delayed` scaling met a larger value than expected
  bool compressed = true;       ///< false: `automatic` found that what was asked for does not pay
};

/// A call that was started. It keeps what it needs, but the tensors' memory is the caller's.
class CPDCOMM_API Pending {
 public:
  Pending(Pending&&) noexcept;
  Pending& operator=(Pending&&) noexcept;
  /// Waits for the call to end.
  ~Pending();

  bool done() const;
  /// Waits, and hands over what the call returned or threw. Once.
  Report wait();

 private:
  friend class Communicator;
  class State;
  explicit Pending(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

/// Of Communicator::irecv: whoever sends first.
inline constexpr int kAnyRank = -1;

/// What is told of the end of a send or a receive: the rank that the message went to or came from,
/// or kAnyRank and an error.
using Ended = std::function<void(int peer, std::exception_ptr error)>;

/// A send or a receive that was started. The memory is the caller's, until it ends.
class CPDCOMM_API Transfer {
 public:
  class State;

  Transfer(Transfer&&) noexcept;
  Transfer& operator=(Transfer&&) noexcept;
  /// Waits for the end.
  ~Transfer();

  bool done() const;
  /// Waits at most so long; whether it has ended.
  bool wait_for(std::chrono::milliseconds time);
  /// Waits for the end.
  /// @return the rank that the message came from or went to
  /// @throws Error mismatch: sender and receiver name other sizes, and the communicator is usable;
  ///         timeout, peer_failed
  int wait();

 private:
  friend class Communicator;
  explicit Transfer(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

/// What holds for all calls on a communicator.
struct CommunicatorOptions {
  std::chrono::milliseconds timeout = std::chrono::minutes(30);  ///< of one operation
  std::size_t segment_bytes = 0;  ///< encoded at once and sent as one message; 0: chosen
  int codec_threads = 0;          ///< that encode and decode; 0: one, or more where cores are free
  bool shared_memory = true;      ///< between ranks of one host; false: the network there, too
  /// The table that Algorithm::automatic goes by: a file that `cpd-tune` wrote, or its text. That
  /// of rank 0 holds for all ranks. Empty: what the environment says, else one that is built in.
  std::string tuning = {};
  /// Find every mistake of a caller: the network's own all-reduce is never taken. Rank 0's holds
  /// for all ranks.
  bool check = false;
};

/// A group of ranks that sum, gather and broadcast together.
///
/// Every rank makes the same calls in the same order. A call that throws counts as made: its peers
/// find out and throw, too, instead of waiting. One call runs at a time; calls of several threads
/// wait for each other.
///
/// It belongs to the process that made it. In a fork of that process all calls throw Error
/// unsupported, abort() does nothing, and nothing is torn down: however the child ends, its parent
/// and the peers do not notice.
class CPDCOMM_API Communicator {
 public:
  explicit Communicator(std::unique_ptr<transport::Transport> transport,
                        const CommunicatorOptions& options = {});
  Communicator(Communicator&&) noexcept;
  Communicator& operator=(Communicator&&) noexcept;
  ~Communicator();

  int rank() const;
  int size() const;

  /// Sums (or otherwise reduces) tensors over all ranks; afterwards every rank has the
  /// same bits. Each tensor has its own scale exponent.
  ///
  /// Where Report::algorithm is `native`, MPI's own all-reduce has done it: then neither the
  /// timeout nor abort() ends a call whose peers do not come, ranks that ask for different things
  /// are not found out, Report::wire_bytes is 0 and Report::non_finite empty, because MPI does not
  /// tell, and the bits of a NaN may differ between ranks. Only
  /// Algorithm::automatic with Accumulate::wide takes it, and not under CommunicatorOptions::check.
  /// @throws Error invalid_argument, unsupported, mismatch, timeout, peer_failed
  Report allreduce(std::span<const Tensor> tensors, const AllreduceOptions& options = {});
  /// One FP32 tensor.
  Report allreduce(std::span<float> values, const AllreduceOptions& options = {});
  /// A flat FP32 buffer that holds many tensors one after the other.
  /// @param ends  where each tensor ends, ascending; the last is values.size()
  Report allreduce(std::span<float> values, std::span<const std::size_t> ends,
                   const AllreduceOptions& options = {});

  /// Starts an all-reduce and returns: it runs on a thread of the communicator, after all calls
  /// that were made before it. `options` and the tensors' descriptions are copied.
  /// @throws Error unsupported over an MPI that allows one thread alone (MPI_THREAD_SINGLE,
  ///         MPI_THREAD_FUNNELED); all else comes from Pending::wait
  Pending iallreduce(std::span<const Tensor> tensors, const AllreduceOptions& options = {});

  /// The first half of an all-reduce: this rank gets its share of the sum, which is not cast again.
  /// What no wire format carries (integers, other operators) is reduced exactly, in its own type.
  /// @param parts   size() * share.count values of this rank; share r of all ranks' is reduced for
  ///                rank r
  /// @param share   where this rank's share goes, of the same type; of fp16 and bf16 also fp32
  /// @throws Error as allreduce
  Report reduce_scatter(const void* parts, DataType type, const Tensor& share,
                        const AllreduceOptions& options = {});
  /// The same where a share holds many tensors, one after the other: each has an exponent of its
  /// own, and an entry in Report::non_finite.
  /// @param ends  where each ends in a share, ascending; the last is share.count
  Report reduce_scatter(const void* parts, DataType type, const Tensor& share,
                        std::span<const std::size_t> ends, const AllreduceOptions& options);
  /// The second half: collects every rank's values, each cast once, the same bits on every rank.
  /// @param mine  values of this rank, of the type of `all`
  /// @param all   size() times as many
  Report allgather(const void* mine, const Tensor& all, const AllreduceOptions& options);

  // The collectives below are exact. A timeout of 0 is the communicator's own; they throw what
  // allreduce throws. Who only sends in them (the root of broadcast and scatter, all but the root
  // of gather and reduce) does not wait for the others, and learns of their mismatch in no call.

  /// Reduces tensors to `root`, each in its own type, joined in rank order; the other ranks'
  /// tensors stay as they are. FP16 and BF16 are rounded after each operation.
  Report reduce(std::span<const Tensor> tensors, int root, ReduceOp op = ReduceOp::sum,
                std::chrono::milliseconds timeout = {});
  /// Copies the bytes of `root` to every rank.
  Report broadcast(std::span<std::byte> bytes, int root, std::chrono::milliseconds timeout = {});
  /// Collects `mine` of every rank, in rank order.
  /// @param all  size() * mine.size() bytes
  Report allgather(std::span<const std::byte> mine, std::span<std::byte> all,
                   std::chrono::milliseconds timeout = {});
  /// The same at `root` alone.
  /// @param all  at other ranks nothing
  Report gather(std::span<const std::byte> mine, std::span<std::byte> all, int root,
                std::chrono::milliseconds timeout = {});
  /// Gives rank r the r-th part of what `root` has.
  /// @param all  size() * mine.size() bytes; at other ranks nothing
  Report scatter(std::span<const std::byte> all, std::span<std::byte> mine, int root,
                 std::chrono::milliseconds timeout = {});
  /// Gives rank r the r-th part of what every rank has, in the order of the ranks it comes from.
  /// @param to_all    size() equal parts
  /// @param from_all  as many bytes, apart from to_all
  Report alltoall(std::span<const std::byte> to_all, std::span<std::byte> from_all,
                  std::chrono::milliseconds timeout = {});
  /// The same with parts of any size, of which all ranks learn first: each keeps size()^2 numbers
  /// in the call, so that it is for hundreds of ranks and not for thousands.
  /// @param to_sizes    bytes for each rank, which add up to those of to_all
  /// @param from_sizes  bytes from each rank
  Report alltoall(std::span<const std::byte> to_all, std::span<const std::size_t> to_sizes,
                  std::span<std::byte> from_all, std::span<const std::size_t> from_sizes,
                  std::chrono::milliseconds timeout = {});
  /// Returns when every rank has entered.
  Report barrier(std::chrono::milliseconds timeout = {});

  /// Starts to send to one rank; what it receives with irecv and the same tag. Any thread may call,
  /// also while another is in a call: messages between two ranks go beside those of all. Messages
  /// with one tag arrive in the order in which they were sent; a long one waits for its receiver.
  /// @throws Error invalid_argument: no such rank, or this one; unsupported as iallreduce
  Transfer isend(std::span<const std::byte> bytes, int peer, std::uint32_t tag = 0,
                 std::chrono::milliseconds timeout = {});
  /// Starts to receive a message of exactly so many bytes.
  /// @param peer  or kAnyRank
  Transfer irecv(std::span<std::byte> bytes, int peer, std::uint32_t tag = 0,
                 std::chrono::milliseconds timeout = {});
  /// The same for callers that do not wait: `then` is called once, on a thread of the communicator,
  /// and must not throw. What it takes, other transfers wait.
  void isend(std::span<const std::byte> bytes, int peer, std::uint32_t tag, Ended then,
             std::chrono::milliseconds timeout = {});
  void irecv(std::span<std::byte> bytes, int peer, std::uint32_t tag, Ended then,
             std::chrono::milliseconds timeout = {});

  /// Tells the peers that this rank cannot take part in the call that they are about to make, or
  /// are in; they throw Error mismatch with `reason`. For callers that check arguments themselves.
  /// @param code  peer_failed when this rank goes for good: then they throw Error peer_failed
  void refuse(const std::string& reason, ErrorCode code = ErrorCode::invalid_argument);

  /// Ends the call that another thread is in with Error peer_failed; the communicator is then dead.
  void abort();

 private:
  class Impl;
  Impl& impl();
  std::unique_ptr<Impl> impl_;
};

}  // namespace cpdcomm
