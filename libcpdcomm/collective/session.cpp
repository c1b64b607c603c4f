#include "collective/session.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "collective/layout.hpp"
#include "collective/tuning/builtin.hpp"
#include "environment.hpp"
#include "reduction/plain.hpp"
#include "topology/cores.hpp"

namespace cpdcomm::collective {
namespace {

constexpr std::size_t kSmallestSegment = 64;

std::size_t segment_bytes(std::size_t asked) {
  if (asked == 0) asked = environment().segment_bytes;
  if (asked == 0) return asked;
  if (asked < kSmallestSegment || asked > kLargestSegment) {
    throw Error(ErrorCode::invalid_argument, fmt::format("segment_bytes is {}; allowed is {} to {}",
                                                         asked, kSmallestSegment, kLargestSegment));
  }
  return asked;
}

std::chrono::milliseconds checked_timeout(std::chrono::milliseconds asked) {
  if (asked.count() > 0) return asked;
  throw Error(ErrorCode::invalid_argument,
              fmt::format("timeout is {} ms; it must be positive", asked.count()));
}

schedule::Hosts hosts_of(const transport::Transport& transport) {
  schedule::Hosts hosts;
  for (int rank = 0; rank < transport.size(); ++rank) hosts.push_back(transport.host_of(rank));
  return hosts;
}

/// More threads than this have nothing to do at once, as many segments as are under way.
constexpr int kMostChosenThreads = 4;

int codec_threads(int asked, const transport::Transport& transport) {
  constexpr int kMostThreads = 256;
  if (asked == 0) asked = environment().codec_threads;
  if (asked == 0) {
    const int spare = topology::spare_cores(transport.ranks_on_machine());
    return std::min(1 + spare, kMostChosenThreads);
  }
  if (asked > 0 && asked <= kMostThreads) return asked;
  throw Error(ErrorCode::invalid_argument,
              fmt::format("codec_threads is {}; allowed is 0 to {}", asked, kMostThreads));
}

}  // namespace

Session::Session(std::unique_ptr<transport::Transport> transport,
                 const CommunicatorOptions& options)
    : transport_(std::move(transport)),
      engine_(*transport_, codec_threads(options.codec_threads, *transport_)),
      hosts_(hosts_of(*transport_)),
      schedules_(transport_->rank(), hosts_),
      timeout_(checked_timeout(options.timeout)),
      segment_bytes_(segment_bytes(options.segment_bytes)),
      tuning_(options.tuning),
      checks_(options.check) {
  // Ranks of one process were asked for the same.
  if (!tuning::place_of(*transport_, hosts_).in_one_process()) return;
  make_tuner(tuning::read_terms(tuning_, checks_));
  settled_ = true;
}

/// A transfer that has failed is the end of the communicator, as a call is.
void Session::notice_dead_transfers() {
  const std::string& death = engine_.transfers().death();
  if (!dead_.empty() || death.empty()) return;
  dead_ = death;
  Call call;
  call.sequence = ++sequence_;
  tell_peers(call, ErrorCode::peer_failed, dead_);
  transport_->abandon();
}

void Session::check_alive() {
  notice_dead_transfers();
  if (dead_.empty()) return;
  throw Error(ErrorCode::peer_failed, "this communicator is dead: " + dead_);
}

Clock::time_point Session::deadline(std::chrono::milliseconds timeout) const {
  // A year is as good as for ever, and adds up with the clock without an overflow.
  constexpr std::chrono::milliseconds kForEver = std::chrono::hours(24 * 365);
  return Clock::now() + std::min(timeout.count() > 0 ? timeout : timeout_, kForEver);
}

void Session::tell_peers(const Call& call, ErrorCode code, const std::string& reason) {
  try {
    engine_.refuse(call, code, reason);
  } catch (const Error&) {
    // The network is gone with the peers: the error under way says more.
  }
}

void Session::fail(const Call& call, ErrorCode code, const std::string& reason) {
  if (code == ErrorCode::timeout || code == ErrorCode::peer_failed) dead_ = reason;
  tell_peers(call, code, reason);
  if (dead_.empty()) return;
  transport_->abandon();
  engine_.transfers().die(Error(ErrorCode::peer_failed, "this communicator is dead: " + dead_));
}

/// Copies bytes of rank 0 to all, as a phase of a call.
void Session::spread(Run& run, std::span<std::byte> bytes) {
  reduction::Plain plain({{bytes.data(), bytes.data(), bytes.size(), DataType::uint8}},
                         ReduceOp::bit_or, 1);
  const Layout layout = Layout::balanced(plain, 1, 1, run.plan.segment_bytes);
  this->run(run, {{schedules_.broadcast(0), layout, plain}});
}

/// Rank 0's terms become those of all.
void Session::share(Run& run, tuning::Terms& terms) {
  Hash builtin;
  for (const char* c = tuning::kBuiltinTable; *c != 0; ++c) builtin.add(static_cast<unsigned>(*c));
  std::array<std::uint64_t, 3> head{terms.table.size(), terms.check ? 1u : 0u, builtin.value()};
  spread(run, std::as_writable_bytes(std::span(head)));
  if (head[2] != builtin.value()) {
    throw Error(ErrorCode::mismatch,
                "rank 0 has another built-in tuning table: its library is of another version");
  }
  terms.table.resize(head[0]);
  terms.check = head[1] != 0;
  if (rank() != 0 && head[0] != 0) terms.source = "of rank 0";
  if (head[0] != 0) spread(run, std::as_writable_bytes(std::span(terms.table)));
}

Plan Session::plan(std::span<const Tensor> tensors, const AllreduceOptions& options) {
  if (!settled_) return plan();
  return tuner_->plan(tuning::question_of(tensors, options, *transport_, !checks_));
}

void Session::settle(Run& run, std::span<const Tensor> tensors, const AllreduceOptions& options) {
  if (settled_) return;
  tuning::Terms terms;
  if (rank() == 0) terms = tuning::read_terms(tuning_, checks_);
  share(run, terms);
  make_tuner(terms);
  run.plan = tuner_->plan(tuning::question_of(tensors, options, *transport_, !terms.check));
  run.settles = true;
  run.sent_before = bytes_of_values();
}

void Session::make_tuner(const tuning::Terms& terms) {
  const bool tells = rank() == 0 && environment().debug;
  tuner_ =
      std::make_unique<tuning::Tuner>(tuning::place_of(*transport_, hosts_), segment_bytes_, tells);
  if (!terms.table.empty()) {
    tuner_->use(tuning::parse_table(terms.table, terms.source), terms.source);
  }
  checks_ = terms.check;
}

void Session::run(Run& run, std::initializer_list<Work> works) {
  phases_.clear();
  for (const Work& work : works) {
    phases_.push_back({work.schedule, work.slices, work.reduction, run.phase++});
  }
  engine_.run({phases_, run.call, run.deadline}, run.times);
}

std::shared_ptr<Transfer::State> Session::post(Transfer::State::Kind kind, std::byte* data,
                                               std::size_t size, int peer, std::uint32_t tag,
                                               std::chrono::milliseconds timeout, Ended then) {
  const bool is_send = kind == Transfer::State::Kind::send;
  const bool any = !is_send && peer == kAnyRank;
  if (!any && (peer < 0 || peer >= this->size() || peer == rank())) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("rank {} cannot {} rank {}: the others are 0 to {} without itself{}",
                            rank(), is_send ? "send to" : "receive from", peer, this->size() - 1,
                            is_send ? "" : ", and kAnyRank"));
  }
  Transfers& transfers = engine_.transfers();
  auto transfer = std::make_shared<Transfer::State>(kind, transfers.next_number(), peer, tag, data,
                                                    size, deadline(timeout), std::move(then));
  transfers.post(transfer);
  return transfer;
}

bool Session::carry_on() {
  const bool moved = advance_transfers();
  const bool news = engine_.transfers().has_news();
  if (news) engine_.transfers().tell_news();
  return moved || news;
}

bool Session::advance_transfers() {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock) return false;
  bool moved = false;
  try {
    transport_->progress();
  } catch (const Error& error) {
    engine_.transfers().die(error);
    moved = true;
  }
  moved = engine_.transfers().advance() || moved;
  notice_dead_transfers();
  return moved;
}

void Session::refuse(const std::string& reason, ErrorCode code) {
  const std::lock_guard lock(mutex_);
  if (!dead_.empty()) return;
  Call call;
  call.sequence = ++sequence_;
  tell_peers(call, code, reason);
}

}  // namespace cpdcomm::collective
