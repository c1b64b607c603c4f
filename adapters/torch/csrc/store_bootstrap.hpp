#pragma once

#include <torch/csrc/distributed/c10d/Store.hpp>

#include <chrono>
#include <string>

#include "cpdcomm/bootstrap.hpp"

namespace cpdcomm::torch_adapter {

/// Ranks that share a c10d store: each sets a key for each allgather and waits for the others'.
class StoreBootstrap final : public Bootstrap {
 public:
  /// @param store    of the group alone
  /// @param timeout  of one allgather
  /// @throws Error peer_failed when the store is gone
  StoreBootstrap(c10::intrusive_ptr<c10d::Store> store, int rank, int size,
                 std::chrono::milliseconds timeout);

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  /// @throws Error timeout that names the ranks that have not come, peer_failed when the store is
  ///         gone
  std::vector<std::vector<std::byte>> allgather(std::span<const std::byte> mine) override;

  /// Tells the others, in place of what they wait for, why this rank does not come.
  void refuse(const std::string& reason);

 private:
  std::string key(int rank) const;
  std::vector<std::uint8_t> entry_of(int rank, std::chrono::milliseconds left);
  std::int64_t next_generation();
  void set(char kind, std::span<const std::byte> bytes);

  c10::intrusive_ptr<c10d::Store> store_;
  int rank_;
  int size_;
  std::chrono::milliseconds timeout_;
  /// Groups that this rank has made over the store: a store may outlive a group.
  std::int64_t generation_;
  int round_ = 0;
};

}  // namespace cpdcomm::torch_adapter
