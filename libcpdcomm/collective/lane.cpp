#include "collective/lane.hpp"

namespace cpdcomm::collective {

using schedule::Action;
using schedule::Message;

void Lane::start(const Operation& operation, std::size_t segment) {
  operation_ = &operation;
  segment_ = segment;
  phase_ = 0;
  step_ = 0;
  active = true;
  find_slice();
}

void Lane::next_step() {
  ++step_;
  find_slice();
}

bool Lane::next_phase() {
  if (phase_ + 1 == operation_->phases.size()) return false;
  ++phase_;
  step_ = 0;
  find_slice();
  return true;
}

void Lane::find_slice() {
  if (ended()) return;
  phase().slices.slice(static_cast<std::size_t>(step().chunk), segment_, slice_);
}

const Message* Lane::awaited() const {
  const std::size_t inside = step().inside.size();
  if (arrived_.size() < inside) return &step().inside[arrived_.size()];
  const std::size_t place = arrived_.size() - inside;
  return place < step().receive.size() ? &step().receive[place] : nullptr;
}

std::size_t Lane::body_bytes(const Message& message) const {
  std::size_t bytes = 0;
  for (const reduction::Range& range : slice_) {
    bytes += phase().reduction.bytes(range.tensor, range.count,
                                     {message.payload, message.parts, message.leg});
  }
  return bytes;
}

void Lane::prepare(Buffer room) {
  out_ = std::move(room);
  host_inputs_.clear();
  inputs_.clear();
  for (std::size_t i = 0; i < arrived_.size(); ++i) {
    const bool inside = i < step().inside.size();
    const Message& message = inside ? step().inside[i] : step().receive[i - step().inside.size()];
    (inside ? host_inputs_ : inputs_)
        .push_back({arrived_[i].body(), message.payload, message.parts});
  }
}

void Lane::work() {
  const auto begin = Clock::now();
  switch (step().action) {
    case Action::take:
      phase().reduction.deliver(slice_, arrived_.front().body());
      break;
    case Action::send_part:
      encode_part();
      break;
    default:
      join();
  }
  work_seconds_ = seconds(Clock::now() - begin);
}

void Lane::encode_part() {
  const reduction::Host host{host_inputs_, static_cast<std::size_t>(step().own_inside_after)};
  phase().reduction.encode_part(slice_, host, step().send.front().leg, out_.body());
}

void Lane::join() {
  const reduction::Join join{inputs_,
                             static_cast<std::size_t>(step().own_after),
                             {host_inputs_, static_cast<std::size_t>(step().own_inside_after)}};
  reduction::Reduction& reduction = phase().reduction;
  if (step().action == Action::keep) {
    reduction.keep(slice_, join);
    return;
  }
  const bool last = step().action == Action::finish;
  const int parts = last ? phase().schedule.ranks : step().send.front().parts;
  reduction.join(slice_, join, {last ? Payload::result : Payload::partial, parts}, out_.body());
  if (last) reduction.deliver(slice_, out_.body());
}

Outgoing Lane::take_outgoing() {
  if (step().action != Action::take) return {.own = std::move(out_)};
  return {.received = std::move(arrived_.front())};
}

}  // namespace cpdcomm::collective
