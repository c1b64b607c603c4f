#pragma once

#include <gtest/gtest.h>

#include <exception>
#include <functional>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "cpdcomm/communicator.hpp"
#include "cpdcomm/threads.hpp"

namespace cpdcomm::testing {

/// How a rank's work ended.
struct Outcome {
  std::optional<ErrorCode> code;  ///< none: without an error
  std::string message;

  bool is(ErrorCode wanted) const { return code == wanted; }
};

inline std::ostream& operator<<(std::ostream& out, const Outcome& outcome) {
  return out << (outcome.code ? to_string(*outcome.code) : "success") << ": " << outcome.message;
}

inline Outcome outcome_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return {error.code(), error.what()};
  } catch (const std::exception& error) {
    ADD_FAILURE() << "not a cpdcomm::Error: " << error.what();
  }
  return {};
}

/// Ranks that are threads. Each `run` gives every rank a thread of its own.
class Ranks {
 public:
  /// The timeout is there for safety: no test waits for it.
  static CommunicatorOptions patient(std::size_t segment_bytes = 0) {
    return {.timeout = std::chrono::seconds(120), .segment_bytes = segment_bytes};
  }

  explicit Ranks(int ranks, const CommunicatorOptions& options = patient())
      : Ranks(make_thread_communicators(ranks, options)) {}
  explicit Ranks(std::vector<Communicator> communicators)
      : communicators_(std::move(communicators)) {}

  int size() const { return static_cast<int>(communicators_.size()); }
  Communicator& operator[](int rank) { return communicators_[static_cast<std::size_t>(rank)]; }

  /// Runs work(communicator) on every rank at once and tells how each ended.
  template <typename Work>
  std::vector<Outcome> outcomes(Work&& work) {
    std::vector<Outcome> outcomes(communicators_.size());
    std::vector<std::thread> threads;
    for (std::size_t i = 0; i < communicators_.size(); ++i) {
      threads.emplace_back([&, i] { outcomes[i] = outcome_of([&] { work(communicators_[i]); }); });
    }
    for (std::thread& thread : threads) thread.join();
    return outcomes;
  }

  /// The same; an error on any rank is a failure of the test.
  template <typename Work>
  void run(Work&& work) {
    const std::vector<Outcome> all = outcomes(work);
    for (std::size_t rank = 0; rank < all.size(); ++rank) {
      EXPECT_FALSE(all[rank].code) << "rank " << rank << ": " << all[rank];
    }
  }

 private:
  std::vector<Communicator> communicators_;
};

/// One thing per rank.
template <typename T>
using PerRank = std::vector<T>;

inline std::size_t index_of(const Communicator& communicator) {
  return static_cast<std::size_t>(communicator.rank());
}

}  // namespace cpdcomm::testing
