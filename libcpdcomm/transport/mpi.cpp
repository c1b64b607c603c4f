#include "cpdcomm/mpi.hpp"

#include <algorithm>
#include <atomic>
#include <deque>
#include <memory>
#include <numeric>
#include <vector>

#include "process.hpp"
#include "transport/hosts.hpp"
#include "transport/module.hpp"
#include "transport/mpi_bootstrap.hpp"
#include "transport/mpi_group.hpp"
#include "transport/mpi_turns.hpp"
#include "transport/transport.hpp"

namespace cpdcomm::transport {
namespace {

/// Once set, MPI_Finalize and MPI_Comm_free are not called any more: they would wait for peers.
std::atomic<bool> abandoned{false};

/// While it lives, errors of a communicator that is not ours are returned, not fatal.
class ReturnErrors {
 public:
  explicit ReturnErrors(MPI_Comm comm) : comm_(comm) {
    const auto lock = turn();
    MPI_Comm_get_errhandler(comm_, &callers_);
    MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
  }
  ~ReturnErrors() {
    const auto lock = turn();
    MPI_Comm_set_errhandler(comm_, callers_);
    MPI_Errhandler_free(&callers_);
  }
  ReturnErrors(const ReturnErrors&) = delete;

 private:
  MPI_Comm comm_;
  MPI_Errhandler callers_ = MPI_ERRHANDLER_NULL;
};

/// Another part of the program may end MPI before us; what is called then would end the process.
void require_not_finalized() {
  int finalized = 0;
  MPI_Finalized(&finalized);
  if (finalized != 0) throw Error(ErrorCode::peer_failed, "MPI has been finalised");
}

bool is_up() {
  int initialized = 0;
  int finalized = 0;
  MPI_Initialized(&initialized);
  MPI_Finalized(&finalized);
  return initialized != 0 && finalized == 0;
}

/// What MPI calls a type; MPI_DATATYPE_NULL where it has none.
MPI_Datatype native_type(DataType type) {
  switch (type) {
    case DataType::fp32:
      return MPI_FLOAT;
    case DataType::fp64:
      return MPI_DOUBLE;
    case DataType::int8:
      return MPI_INT8_T;
    case DataType::uint8:
      return MPI_UINT8_T;
    case DataType::int16:
      return MPI_INT16_T;
    case DataType::int32:
      return MPI_INT32_T;
    case DataType::int64:
      return MPI_INT64_T;
    case DataType::bf16:
    case DataType::fp16:
      return MPI_DATATYPE_NULL;
  }
  return MPI_DATATYPE_NULL;
}

/// MPI_OP_NULL where MPI does not define the operator for the type.
MPI_Op native_op(DataType type, ReduceOp op) {
  const bool is_float = type == DataType::fp32 || type == DataType::fp64;
  switch (op) {
    case ReduceOp::sum:
      return MPI_SUM;
    case ReduceOp::product:
      return MPI_PROD;
    case ReduceOp::min:
      return MPI_MIN;
    case ReduceOp::max:
      return MPI_MAX;
    case ReduceOp::bit_and:
      return is_float ? MPI_OP_NULL : MPI_BAND;
    case ReduceOp::bit_or:
      return is_float ? MPI_OP_NULL : MPI_BOR;
    case ReduceOp::bit_xor:
      return is_float ? MPI_OP_NULL : MPI_BXOR;
    case ReduceOp::average:
      return MPI_OP_NULL;
  }
  return MPI_OP_NULL;
}

class MpiTransport final : public Transport {
 public:
  /// Takes over `comm`.
  explicit MpiTransport(MPI_Comm comm) : comm_(comm) {
    const auto lock = turn();
    MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
  }
  ~MpiTransport() override {
    cancel_receives();
    // A context that is freed may serve a new communicator, where late messages would arrive.
    if (keep_address_ || abandoned || !is_up()) return;
    const auto lock = turn();
    MPI_Comm_free(&comm_);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string_view name() const override { return "mpi"; }

  bool allows_threads() const override { return thread_level() >= MPI_THREAD_SERIALIZED; }

  /// A thread that waits in MPI would keep all others out where MPI allows one at a time, so there
  /// is none there; where only one thread may call at all, it keeps nobody out.
  bool has_allreduce(DataType type, ReduceOp op) const override {
    return thread_level() != MPI_THREAD_SERIALIZED && native_type(type) != MPI_DATATYPE_NULL &&
           native_op(type, op) != MPI_OP_NULL;
  }
  /// MPI counts values in an int.
  bool allreduce(const void* in, void* out, std::size_t count, DataType type,
                 ReduceOp op) override {
    if (!has_allreduce(type, op)) return false;
    require_not_finalized();
    constexpr std::size_t kMost = std::size_t{1} << 30;
    for (std::size_t first = 0; first < count; first += kMost) {
      const std::size_t offset = first * size_of(type);
      const void* const part = in == out ? MPI_IN_PLACE : static_cast<const char*>(in) + offset;
      check(MPI_Allreduce(part, static_cast<char*>(out) + offset,
                          static_cast<int>(std::min(kMost, count - first)), native_type(type),
                          native_op(type, op), comm_),
            "MPI_Allreduce");
    }
    return true;
  }

  bool done(Request request) override {
    if (requests_[request] != MPI_REQUEST_NULL) return false;
    free_.push_back(request);
    return true;
  }

  void expect(int peer, int channel) override {
    Queue& queue = queue_of(peer, channel);
    while (queue.posted.size() < kAhead) post(queue, peer, channel);
  }

  bool take(int peer, int channel, Arrival& arrival) override {
    Queue& queue = queue_of(peer, channel);
    if (queue.posted.empty()) expect(peer, channel);
    // Later messages may be complete before earlier ones.
    const Posted front = queue.posted.front();
    if (requests_[front.request] != MPI_REQUEST_NULL) return false;
    queue.posted.pop_front();
    free_.push_back(front.request);
    post(queue, peer, channel);
    arrival = {rooms_[front.room].get(), sizes_[front.request], front.room};
    return true;
  }

  void release(const Arrival& arrival) override { free_rooms_.push_back(arrival.token); }

  void progress() override {
    require_not_finalized();
    const auto lock = turn();
    int count = 0;
    completed_.resize(requests_.size());
    statuses_.resize(requests_.size());
    check(MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &count,
                       completed_.data(), statuses_.data()),
          "MPI_Testsome");
    if (count == MPI_UNDEFINED) return;
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
      int bytes = 0;
      MPI_Get_count(&statuses_[i], MPI_BYTE, &bytes);
      sizes_[static_cast<std::size_t>(completed_[i])] = static_cast<std::size_t>(bytes);
    }
  }

  bool sends_wait_for_peers() const override { return true; }
  void keep_address() override { keep_address_ = true; }
  void abandon() override { abandoned = true; }

 private:
  static constexpr std::size_t kAhead = 2;

  /// A receive, and the room that it fills.
  struct Posted {
    Request request;
    std::size_t room;
  };
  struct Queue {
    std::deque<Posted> posted;
  };

  Queue& queue_of(int peer, int channel) {
    const auto place = static_cast<std::size_t>(channel) * static_cast<std::size_t>(size_) +
                       static_cast<std::size_t>(peer);
    if (place >= queues_.size()) queues_.resize(place + 1);
    return queues_[place];
  }

  /// A place among the requests.
  Request add_request() {
    if (free_.empty()) {
      requests_.push_back(MPI_REQUEST_NULL);
      sizes_.push_back(0);
      return static_cast<Request>(requests_.size() - 1);
    }
    const Request request = free_.back();
    free_.pop_back();
    return request;
  }

  std::size_t take_room() {
    if (free_rooms_.empty()) {
      rooms_.push_back(std::make_unique_for_overwrite<std::byte[]>(kLongestMessage));
      return rooms_.size() - 1;
    }
    const std::size_t room = free_rooms_.back();
    free_rooms_.pop_back();
    return room;
  }

  void post(Queue& queue, int peer, int channel) {
    require_not_finalized();
    const auto lock = turn();
    const Posted posted{add_request(), take_room()};
    check(MPI_Irecv(rooms_[posted.room].get(), static_cast<int>(kLongestMessage), MPI_BYTE, peer,
                    channel, comm_, &requests_[posted.request]),
          "MPI_Irecv");
    queue.posted.push_back(posted);
  }

  Request start_send(int peer, int channel, std::span<const std::byte> bytes) override {
    require_not_finalized();
    const auto lock = turn();
    const Request request = add_request();
    check(MPI_Isend(bytes.data(), static_cast<int>(bytes.size()), MPI_BYTE, peer, channel, comm_,
                    &requests_[request]),
          "MPI_Isend");
    return request;
  }

  /// Gives up the receives. Where MPI does not, their memory is left to it.
  void cancel_receives() {
    for (Queue& queue : queues_) {
      for (const Posted& posted : queue.posted) {
        MPI_Request& request = requests_[posted.request];
        if (request == MPI_REQUEST_NULL || cancel(request)) continue;
        abandoned = true;
      }
    }
    // What is left is sent yet, or could not be given up: rooms stay with MPI, because messages
    // that are sent on lie in them.
    const bool idle = std::ranges::all_of(
        requests_, [](MPI_Request request) { return request == MPI_REQUEST_NULL; });
    if (idle) return;
    for (auto& room : rooms_) static_cast<void>(room.release());
  }

  static bool cancel(MPI_Request& request) {
    if (abandoned || !is_up()) return false;
    const auto lock = turn();
    return MPI_Cancel(&request) == MPI_SUCCESS &&
           MPI_Wait(&request, MPI_STATUS_IGNORE) == MPI_SUCCESS;
  }

  MPI_Comm comm_;
  int rank_ = 0;
  int size_ = 1;
  bool keep_address_ = false;
  std::vector<Queue> queues_;  // by channel and peer
  // Requests in one row, for MPI to look at with one call; that which is done is null.
  std::vector<MPI_Request> requests_;
  std::vector<std::size_t> sizes_;  // of messages received, by request
  std::vector<Request> free_;
  std::vector<std::unique_ptr<std::byte[]>> rooms_;
  std::vector<std::size_t> free_rooms_;
  std::vector<int> completed_;
  std::vector<MPI_Status> statuses_;
};

/// Takes over `comm`. Its ranks on one host share memory.
std::unique_ptr<Transport> connect(MPI_Comm comm, const CommunicatorOptions& options) {
  auto network = std::make_unique<MpiTransport>(comm);
  MpiBootstrap bootstrap(comm);
  return with_shared_memory(std::move(network), bootstrap, options.shared_memory);
}

/// MPI as a module: the process is one of those that mpirun or srun started.
class MpiModule final : public Module {
 public:
  MpiModule() {
    int initialized = 0;
    MPI_Initialized(&initialized);
    if (initialized == 0) {
      int level = MPI_THREAD_SINGLE;
      check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_MULTIPLE, &level), "MPI_Init_thread");
      started_ = true;
    }
    require_threads();
    MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
    MPI_Comm_size(MPI_COMM_WORLD, &size_);
  }

  int world_rank() const override { return rank_; }
  int world_size() const override { return size_; }

  std::vector<std::vector<std::byte>> allgather(std::span<const std::byte> mine) override {
    const ReturnErrors returned(MPI_COMM_WORLD);
    std::vector<int> all(static_cast<std::size_t>(size_));
    std::iota(all.begin(), all.end(), 0);
    MPI_Comm comm = make_group(all, 0);
    const auto answers = MpiBootstrap(comm).allgather(mine);
    const auto lock = turn();
    MPI_Comm_free(&comm);
    return answers;
  }

  std::unique_ptr<Transport> open(std::span<const int> ranks, int tag,
                                  const CommunicatorOptions& options) override {
    const ReturnErrors returned(MPI_COMM_WORLD);
    return connect(make_group(ranks, tag), options);
  }

  /// MPI knows the process that started it, and takes its fork for the same.
  void require_own_mpi() const {
    if (maker_.is_this_process()) return;
    throw Error(
        ErrorCode::unsupported,
        "MPI belongs to the process that this one is a fork of; a group of forked processes "
        "goes over UCX (CPDCOMM_TRANSPORT=ucx)");
  }

  void shutdown(bool clean) override {
    if (started_ && clean && !abandoned && is_up()) MPI_Finalize();
  }

 private:
  /// Operations run on a thread of their own, beside the user's.
  static void require_threads() {
    int level = MPI_THREAD_SINGLE;
    MPI_Query_thread(&level);
    if (level >= MPI_THREAD_SERIALIZED) return;
    throw Error(ErrorCode::unsupported,
                "MPI was initialised without thread support (MPI_THREAD_SERIALIZED or "
                "MPI_THREAD_MULTIPLE is needed): initialise it with MPI_Init_thread, or import "
                "cpdcomm first");
  }

  const Maker maker_;
  bool started_ = false;
  int rank_ = 0;
  int size_ = 1;
};

}  // namespace
}  // namespace cpdcomm::transport

namespace cpdcomm {

Communicator make_mpi_communicator(MPI_Comm comm, const CommunicatorOptions& options) {
  if (!transport::is_up()) {
    throw Error(ErrorCode::invalid_argument, "MPI is not initialised, or finalised already");
  }
  if (comm == MPI_COMM_NULL) {
    throw Error(ErrorCode::invalid_argument, "MPI_COMM_NULL has no ranks");
  }
  const transport::ReturnErrors returned(comm);
  int inter = 0;
  MPI_Comm_test_inter(comm, &inter);
  if (inter != 0) {
    throw Error(ErrorCode::invalid_argument, "an inter-communicator joins two groups, not one");
  }
  MPI_Comm duplicate = MPI_COMM_NULL;
  transport::wait_in_turns("MPI_Comm_idup", [&](MPI_Request* request) {
    return MPI_Comm_idup(comm, &duplicate, request);
  });
  return Communicator(transport::connect(duplicate, options), options);
}

}  // namespace cpdcomm

extern "C" CPDCOMM_API cpdcomm::transport::Module* cpdcomm_transport_module() {
  // Never destroyed: at the end of the process MPI may be gone before static objects are.
  static auto* const module = new cpdcomm::transport::MpiModule;
  module->require_own_mpi();
  return module;
}
