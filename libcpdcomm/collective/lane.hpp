#pragma once

#include <vector>

#include "collective/buffer_pool.hpp"
#include "collective/held.hpp"
#include "collective/operation.hpp"
#include "collective/outbox.hpp"
#include "collective/workers.hpp"

namespace cpdcomm::collective {

/// One segment on its way through the phases of a call. As a job it does a step's work on bytes.
class Lane final : public Job {
 public:
  Lane(transport::Transport& transport, int number) : channel(number), outbox(transport) {}

  /// Begins with a segment of an operation.
  void start(const Operation& operation, std::size_t segment);
  /// On to the next step.
  void next_step();
  /// On to the next phase, if there is one.
  bool next_phase();

  const Phase& phase() const { return operation_->phases[phase_]; }
  bool ended() const { return step_ == phase().schedule.steps.size(); }
  const schedule::Step& step() const { return phase().schedule.steps[step_]; }
  std::size_t segment() const { return segment_; }

  /// The message that the step waits for next; null when all have arrived.
  const schedule::Message* awaited() const;
  /// Calls each(message) for all that the lane still waits for in this phase.
  template <typename Each>
  void for_each_awaited(Each&& each) const {
    std::size_t arrived = arrived_.size();
    for (std::size_t next = step_; next < phase().schedule.steps.size(); ++next) {
      const schedule::Step& step = phase().schedule.steps[next];
      for (const auto* const messages : {&step.inside, &step.receive}) {
        for (const schedule::Message& message : *messages) {
          if (arrived != 0) {
            --arrived;
          } else {
            each(message);
          }
        }
      }
    }
  }
  /// Bytes of a message of this step's slice, without its header.
  std::size_t body_bytes(const schedule::Message& message) const;
  void arrive(Held message) { arrived_.push_back(std::move(message)); }

  /// Prepares work(): all has arrived.
  /// @param room  for what the step sends or keeps; unless it only takes a result
  void prepare(Buffer room);
  /// What the step sends, after its work.
  Outgoing take_outgoing();
  double work_seconds() const { return work_seconds_; }
  /// Lets go of what has arrived.
  void clear() { arrived_.clear(); }

  const int channel;
  bool active = false;
  bool working = false;
  Outbox outbox;

 private:
  void work() override;
  void find_slice();
  void encode_part();
  void join();

  const Operation* operation_ = nullptr;
  std::size_t segment_ = 0;
  std::size_t phase_ = 0;
  std::size_t step_ = 0;
  std::vector<reduction::Range> slice_;  // of the step's chunk
  std::vector<Held> arrived_;            // those of this host first
  Buffer out_;
  double work_seconds_ = 0;

  // Scratch.
  std::vector<reduction::Input> host_inputs_;
  std::vector<reduction::Input> inputs_;
};

}  // namespace cpdcomm::collective
