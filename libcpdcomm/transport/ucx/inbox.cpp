#include "transport/ucx/inbox.hpp"

#include "transport/ucx/worker.hpp"

namespace cpdcomm::transport::ucx {

std::byte* Pool::take() {
  if (free_.empty()) {
    all_.push_back(std::make_unique_for_overwrite<std::byte[]>(kLongestMessage));
    free_.reserve(all_.size());  // so that giving back never allocates
    return all_.back().get();
  }
  std::byte* const buffer = free_.back();
  free_.pop_back();
  return buffer;
}

Inbox::Inbox(ucp_worker_h worker, Pool& pool, ucp_tag_t tag)
    : worker_(worker), pool_(&pool), tag_(tag) {
  for (Posted& place : posted_) post(place);
}

void Inbox::post(Posted& place) {
  constexpr ucp_tag_t kWholeTag = ~ucp_tag_t{0};
  ucp_request_param_t param{};
  // A request even for a message that has been waiting, so that all are looked at in one way.
  param.op_attr_mask = UCP_OP_ATTR_FLAG_NO_IMM_CMPL;
  place.buffer = pool_->take();
  place.request = ucp_tag_recv_nbx(worker_, place.buffer, kLongestMessage, tag_, kWholeTag, &param);
  if (!UCS_PTR_IS_ERR(place.request)) return;
  const ucs_status_t status = UCS_PTR_STATUS(place.request);
  place.request = nullptr;
  check(status, "UCX takes no receive");
}

bool Inbox::take(Arrival& arrival) {
  Posted& place = posted_[next_];
  if (place.request == nullptr) return false;  // given up before
  ucp_tag_recv_info_t info{};
  const ucs_status_t status = ucp_tag_recv_request_test(place.request, &info);
  if (status == UCS_INPROGRESS) return false;
  ucp_request_free(place.request);
  place.request = nullptr;
  check(status, "a message was not received");
  arrival = {place.buffer, info.length, 0};
  post(place);
  next_ = (next_ + 1) % kAhead;
  return true;
}

void Inbox::cancel() {
  for (Posted& place : posted_) {
    if (place.request == nullptr) continue;
    ucp_request_cancel(worker_, place.request);
    ucp_request_free(place.request);
    place.request = nullptr;
  }
}

}  // namespace cpdcomm::transport::ucx
