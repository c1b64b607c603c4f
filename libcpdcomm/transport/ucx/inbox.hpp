#pragma once

#include <ucp/api/ucp.h>

#include <array>
#include <cstddef>
#include <memory>
#include <vector>

#include "transport/transport.hpp"

namespace cpdcomm::transport::ucx {

/// Memory for messages that arrive, kept for the next ones.
class Pool {
 public:
  std::byte* take();
  void give(std::byte* buffer) { free_.push_back(buffer); }

 private:
  std::vector<std::unique_ptr<std::byte[]>> all_;
  std::vector<std::byte*> free_;
};

/// The messages of one tag, in the order in which they were sent: receives are posted ahead, so
/// that UCX has a place for them when they come.
class Inbox {
 public:
  Inbox(ucp_worker_h worker, Pool& pool, ucp_tag_t tag);

  /// The next message, if it has arrived.
  /// @throws Error peer_failed when UCX gives it up
  bool take(Arrival& arrival);
  /// Nothing is written to the pool's memory any more, once the worker is gone.
  void cancel();

 private:
  static constexpr std::size_t kAhead = 2;

  struct Posted {
    std::byte* buffer = nullptr;
    void* request = nullptr;
  };

  void post(Posted& place);

  ucp_worker_h worker_;
  Pool* pool_;
  ucp_tag_t tag_;
  std::array<Posted, kAhead> posted_;
  std::size_t next_ = 0;
};

}  // namespace cpdcomm::transport::ucx
