#include "transport/ucx/worker.hpp"

#include <fmt/format.h>

#include <array>
#include <cstdlib>
#include <mutex>
#include <string>

#include "process.hpp"
#include "transport/transport.hpp"

namespace cpdcomm::transport::ucx {
namespace {

/// UCX's settings from its variables, and ours where those say nothing.
class Settings {
 public:
  explicit Settings(UcxMemory memory) {
    check(ucp_config_read(nullptr, nullptr, &handle_), "UCX's variables", ErrorCode::unsupported);
    // Our messages go without asking the receiver first; its memory is waiting for them.
    prefer("RNDV_THRESH", std::to_string(kLongestMessage + 1));
    // Where UCX is to report failures it leaves its shared memory unused.
    if (memory == UcxMemory::none) prefer("TLS", "^sm");
  }
  ~Settings() { ucp_config_release(handle_); }
  Settings(const Settings&) = delete;

  const ucp_config_t* get() const { return handle_; }

 private:
  void prefer(const std::string& name, const std::string& value) {
    const std::string variable = "UCX_" + name;
    if (std::getenv(variable.c_str()) != nullptr) return;
    check(ucp_config_modify(handle_, name.c_str(), value.c_str()), variable.c_str(),
          ErrorCode::unsupported);
  }

  ucp_config_t* handle_ = nullptr;
};

}  // namespace

void check(ucs_status_t status, const char* what, ErrorCode code) {
  if (status == UCS_OK) return;
  throw Error(code, fmt::format("{}: {}", what, ucs_status_string(status)));
}

Context::Context(UcxMemory memory) {
  const Settings settings(memory);
  ucp_params_t params{};
  params.field_mask = UCP_PARAM_FIELD_FEATURES | UCP_PARAM_FIELD_MT_WORKERS_SHARED;
  params.features = UCP_FEATURE_TAG;
  params.mt_workers_shared = 1;  // communicators may be used by threads of their own
  check(ucp_init(&params, settings.get(), &handle_), "UCX cannot be started",
        ErrorCode::unsupported);
}

std::shared_ptr<Context> Context::shared(UcxMemory memory) {
  struct Shared {
    std::mutex mutex;
    std::array<std::weak_ptr<Context>, 2> kinds;
  };
  static PerProcess<Shared> all;  // that of a fork's parent is not the fork's
  Shared& shared = all.get();
  const std::lock_guard lock(shared.mutex);
  std::weak_ptr<Context>& last = shared.kinds[static_cast<std::size_t>(memory)];
  std::shared_ptr<Context> context = last.lock();
  if (!context) last = context = std::make_shared<Context>(memory);
  return context;
}

Worker::Worker(UcxMemory memory) : context_(Context::shared(memory)) {
  ucp_worker_params_t params{};
  params.field_mask = UCP_WORKER_PARAM_FIELD_THREAD_MODE | UCP_WORKER_PARAM_FIELD_FLAGS;
  params.thread_mode = UCS_THREAD_MODE_SERIALIZED;
  params.flags = UCP_WORKER_FLAG_IGNORE_REQUEST_LEAK;  // peers that are gone leave some behind
  check(ucp_worker_create(context_->get(), &params, &handle_), "UCX cannot make a worker",
        ErrorCode::unsupported);
  ucp_worker_attr_t attributes{};
  attributes.field_mask = UCP_WORKER_ATTR_FIELD_THREAD_MODE;
  const ucs_status_t status = ucp_worker_query(handle_, &attributes);
  if (status == UCS_OK && attributes.thread_mode != UCS_THREAD_MODE_SINGLE) return;
  ucp_worker_destroy(handle_);
  check(status, "UCX does not say what it has made", ErrorCode::unsupported);
  throw Error(ErrorCode::unsupported, "this UCX was built for programs with one thread only");
}

Worker::~Worker() {
  drop_messages();
  ucp_worker_destroy(handle_);
}

/// Those that nobody has taken, such as the rest of calls that failed: UCX would complain.
void Worker::drop_messages() const {
  constexpr bool kRemove = true;
  ucp_tag_recv_info_t info{};
  while (ucp_tag_message_h message = ucp_tag_probe_nb(handle_, 0, 0, kRemove, &info)) {
    const ucp_request_param_t param{};
    void* const request = ucp_tag_msg_recv_nbx(handle_, nullptr, 0, message, &param);
    if (UCS_PTR_IS_PTR(request)) ucp_request_free(request);
  }
}

std::vector<std::byte> Worker::address() const {
  ucp_address_t* address = nullptr;
  std::size_t size = 0;
  check(ucp_worker_get_address(handle_, &address, &size), "UCX has no address",
        ErrorCode::unsupported);
  const auto* const bytes = reinterpret_cast<const std::byte*>(address);
  std::vector<std::byte> copy(bytes, bytes + size);
  ucp_worker_release_address(handle_, address);
  return copy;
}

ucp_ep_h Worker::connect(std::span<const std::byte> address, ucp_err_handler_cb_t on_failure,
                         void* argument) const {
  ucp_ep_params_t params{};
  params.field_mask = UCP_EP_PARAM_FIELD_REMOTE_ADDRESS;
  params.address = reinterpret_cast<const ucp_address_t*>(address.data());
  if (on_failure != nullptr) {
    params.field_mask |= UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UCP_EP_PARAM_FIELD_ERR_HANDLER;
    params.err_mode = UCP_ERR_HANDLING_MODE_PEER;
    params.err_handler = {on_failure, argument};
  }
  ucp_ep_h endpoint = nullptr;
  check(ucp_ep_create(handle_, &params, &endpoint), "UCX knows no way to a rank",
        ErrorCode::unsupported);
  return endpoint;
}

void Worker::progress() const {
  constexpr int kMostRounds = 64;
  for (int round = 0; round < kMostRounds && ucp_worker_progress(handle_) != 0; ++round) {
  }
}

}  // namespace cpdcomm::transport::ucx
