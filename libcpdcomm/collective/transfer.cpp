#include "collective/transfer.hpp"

#include <fmt/format.h>

#include <utility>

namespace cpdcomm {
namespace {

constexpr const char* kWhat = "this send or receive";

}  // namespace

std::string Transfer::State::describe() const {
  if (kind == Kind::send) return fmt::format("send {} to rank {} (tag {})", number, peer, tag);
  if (peer == kAnyRank) return fmt::format("receive {} from any rank (tag {})", number, tag);
  return fmt::format("receive {} from rank {} (tag {})", number, peer, tag);
}

void Transfer::State::end(int other, const Error* error) {
  const std::lock_guard lock(mutex_);
  other_ = other;
  if (error != nullptr) failure_ = Failure{error->code(), error->what()};
  done_ = true;
  changed_.notify_all();
}

bool Transfer::State::done() const {
  const std::lock_guard lock(mutex_);
  return done_;
}

void Transfer::State::wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return done_; });
}

bool Transfer::State::wait_for(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, time, [this] { return done_; });
}

int Transfer::State::peer_or_throw() const {
  const std::lock_guard lock(mutex_);
  if (failure_) throw failure_->error();
  return other_;
}

void Transfer::State::call_back() {
  const Ended then = std::exchange(then_, nullptr);
  then(other_, failure_ ? std::make_exception_ptr(failure_->error()) : nullptr);
}

Transfer::Transfer(std::shared_ptr<State> state) : state_(std::move(state)) {}
Transfer::Transfer(Transfer&&) noexcept = default;
Transfer& Transfer::operator=(Transfer&& other) noexcept {
  std::swap(state_, other.state_);
  return *this;
}
Transfer::~Transfer() {
  if (!state_) return;
  if (state_->maker.is_this_process()) {
    state_->wait();
  } else {
    leave_to_parent(std::move(state_));
  }
}

bool Transfer::done() const {
  state_->maker.require_this_process(kWhat);
  return state_->done();
}
bool Transfer::wait_for(std::chrono::milliseconds time) {
  state_->maker.require_this_process(kWhat);
  return state_->wait_for(time);
}
int Transfer::wait() {
  state_->maker.require_this_process(kWhat);
  state_->wait();
  return state_->peer_or_throw();
}

}  // namespace cpdcomm
