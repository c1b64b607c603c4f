#include "store_bootstrap.hpp"

#include <algorithm>
#include <exception>
#include <iterator>
#include <utility>

#include "cpdcomm/error.hpp"

namespace cpdcomm::torch_adapter {
namespace {

using Clock = std::chrono::steady_clock;

// The first byte of an entry.
constexpr char kComes = '+';
constexpr char kRefuses = '-';

Error store_failed(const std::exception& error) {
  return {ErrorCode::peer_failed,
          std::string("torch's store, over which ranks find each other, failed: ") + error.what()};
}

}  // namespace

StoreBootstrap::StoreBootstrap(c10::intrusive_ptr<c10d::Store> store, int rank, int size,
                               std::chrono::milliseconds timeout)
    : store_(std::move(store)),
      rank_(rank),
      size_(size),
      timeout_(timeout),
      generation_(next_generation()) {}

std::int64_t StoreBootstrap::next_generation() {
  try {
    return store_->add("cpdcomm/groups/" + std::to_string(rank_), 1);
  } catch (const std::exception& error) {
    throw store_failed(error);
  }
}

std::string StoreBootstrap::key(int rank) const {
  return "cpdcomm/" + std::to_string(generation_) + "/" + std::to_string(round_) + "/" +
         std::to_string(rank);
}

void StoreBootstrap::set(char kind, std::span<const std::byte> bytes) {
  std::vector<std::uint8_t> entry{static_cast<std::uint8_t>(kind)};
  std::ranges::transform(bytes, std::back_inserter(entry),
                         [](std::byte byte) { return std::to_integer<std::uint8_t>(byte); });
  try {
    store_->set(key(rank_), entry);
  } catch (const std::exception& error) {
    throw store_failed(error);
  }
}

void StoreBootstrap::refuse(const std::string& reason) {
  set(kRefuses, std::as_bytes(std::span(reason)));
}

/// @throws Error timeout, peer_failed
std::vector<std::uint8_t> StoreBootstrap::entry_of(int rank, std::chrono::milliseconds left) {
  try {
    store_->wait({key(rank)}, left);
    return store_->get(key(rank));
  } catch (const std::exception& error) {
    const std::string what = error.what();
    const bool late =
        what.find("imeout") != std::string::npos || what.find("imed out") != std::string::npos;
    throw Error(late ? ErrorCode::timeout : ErrorCode::peer_failed,
                "rank " + std::to_string(rank) + " of the group has not come to make it: " + what);
  }
}

std::vector<std::vector<std::byte>> StoreBootstrap::allgather(std::span<const std::byte> mine) {
  set(kComes, mine);
  const auto deadline = Clock::now() + timeout_;
  std::vector<std::vector<std::byte>> all;
  for (int rank = 0; rank < size_; ++rank) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
    const auto entry = entry_of(rank, std::max(left, std::chrono::milliseconds(1)));
    const auto body = std::as_bytes(std::span(entry)).subspan(1);
    if (entry.front() == static_cast<std::uint8_t>(kRefuses)) {
      throw Error(ErrorCode::unsupported, "rank " + std::to_string(rank) + " of the group: " +
                                              std::string(entry.begin() + 1, entry.end()));
    }
    all.emplace_back(body.begin(), body.end());
  }
  ++round_;
  return all;
}

}  // namespace cpdcomm::torch_adapter
