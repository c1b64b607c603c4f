#pragma once

#include <exception>
#include <memory>
#include <optional>
#include <thread>
#include <vector>

#include "cpdcomm/bootstrap.hpp"
#include "support/scratch.hpp"

namespace cpdcomm::testing {

/// Calls work(rank) on a thread for each rank, all at the same time.
template <typename Work>
void on_all(std::size_t ranks, Work&& work) {
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < ranks; ++rank) threads.emplace_back([&, rank] { work(rank); });
  for (std::thread& thread : threads) thread.join();
}

/// What make(bootstrap) returns for each of `ranks` ranks, which find each other at the same time.
template <typename Make>
auto connect_all(int ranks, Make&& make) {
  using Made = decltype(make(std::declval<Bootstrap&>()));
  const Scratch scratch;
  std::vector<std::optional<Made>> made(static_cast<std::size_t>(ranks));
  std::vector<std::exception_ptr> errors(made.size());
  on_all(made.size(), [&](std::size_t rank) {
    try {
      FileBootstrap bootstrap(scratch.path(), static_cast<int>(rank), ranks);
      made[rank].emplace(make(bootstrap));
    } catch (...) {
      errors[rank] = std::current_exception();
    }
  });
  std::vector<Made> all;
  for (std::size_t rank = 0; rank < made.size(); ++rank) {
    if (errors[rank]) std::rethrow_exception(errors[rank]);
    all.push_back(std::move(*made[rank]));
  }
  return all;
}

}  // namespace cpdcomm::testing
