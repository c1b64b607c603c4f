#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "cpdcomm/communicator.hpp"
#include "cpdcomm/error.hpp"
#include "process.hpp"

namespace cpdcomm {

/// A send or a receive, shared by whoever waits for it and whoever carries it out.
class Transfer::State {
 public:
  using Clock = std::chrono::steady_clock;
  enum class Kind { send, receive };

  const Maker maker;
  const Kind kind;
  const std::uint64_t number;  ///< of this rank's transfers
  const int peer;              ///< kAnyRank: of a receive
  const std::uint32_t tag;
  std::byte* const data;  ///< of a send only read
  const std::size_t size;
  const Clock::time_point deadline;

  State(Kind what, std::uint64_t which, int other, std::uint32_t label, std::byte* bytes,
        std::size_t count, Clock::time_point end, Ended then)
      : kind(what),
        number(which),
        peer(other),
        tag(label),
        data(bytes),
        size(count),
        deadline(end),
        then_(std::move(then)) {}

  /// "send 3 to rank 2 (tag 7)": as error messages name it.
  std::string describe() const;

  /// @param other  whom the message came from or went to
  /// @param error  nullptr where it has succeeded
  void end(int other, const Error* error);

  bool done() const;
  void wait();
  bool wait_for(std::chrono::milliseconds time);
  /// After the end.
  int peer_or_throw() const;

  bool has_callback() const { return then_ != nullptr; }
  /// After the end, once.
  void call_back();

 private:
  /// Not an exception that threads share: each who asks gets one of its own.
  struct Failure {
    ErrorCode code;
    std::string text;
    Error error() const { return {code, text}; }
  };

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  int other_ = kAnyRank;
  std::optional<Failure> failure_;
  Ended then_;
};

}  // namespace cpdcomm
