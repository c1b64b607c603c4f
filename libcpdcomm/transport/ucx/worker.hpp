#pragma once

#include <ucp/api/ucp.h>

#include <memory>
#include <span>
#include <vector>

#include "cpdcomm/error.hpp"

namespace cpdcomm::transport::ucx {

/// @throws Error `code` with what UCX says, unless the status is UCS_OK
void check(ucs_status_t status, const char* what, ErrorCode code = ErrorCode::peer_failed);

/// Whether UCX may take shared memory inside a host. It takes some MiB of /dev/shm for each worker,
/// used or not.
enum class UcxMemory { none, shared };

/// UCX's devices and settings: one of each kind for all communicators that live at the same time.
class Context {
 public:
  /// @param memory  unless UCX_TLS, which says it, too, is set
  /// @throws Error unsupported when UCX cannot be started
  static std::shared_ptr<Context> shared(UcxMemory memory);

  explicit Context(UcxMemory memory);
  ~Context() { ucp_cleanup(handle_); }
  Context(const Context&) = delete;

  ucp_context_h get() const { return handle_; }

 private:
  ucp_context_h handle_ = nullptr;
};

/// One communicator's end of the network. Its endpoints end with it at the latest.
class Worker {
 public:
  /// @throws Error unsupported
  explicit Worker(UcxMemory memory);
  ~Worker();
  Worker(const Worker&) = delete;

  ucp_worker_h get() const { return handle_; }
  /// What peers need to reach it, up to some hundred bytes.
  std::vector<std::byte> address() const;

  /// @param on_failure  called with `argument` from progress(); null: UCX does not look for it
  /// @throws Error peer_failed
  ucp_ep_h connect(std::span<const std::byte> address, ucp_err_handler_cb_t on_failure,
                   void* argument) const;

  /// Lets UCX work until it has nothing to do, though not for ever.
  void progress() const;

 private:
  void drop_messages() const;

  std::shared_ptr<Context> context_;
  ucp_worker_h handle_ = nullptr;
};

}  // namespace cpdcomm::transport::ucx
