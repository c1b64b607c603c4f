#include "cpdcomm/communicator.hpp"

#include <fmt/format.h>

#include <vector>

#include "collective/allreduce.hpp"
#include "collective/byte_collectives.hpp"
#include "collective/session.hpp"
#include "cpdcomm/threads.hpp"
#include "transport/threads.hpp"

namespace cpdcomm {
namespace {

/// The tensors of a flat buffer.
/// @throws Error invalid_argument unless the ends ascend to the buffer's size
std::vector<Tensor> tensors_in(std::span<float> values, std::span<const std::size_t> ends) {
  const auto fail = [&](const std::string& what) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("the {} ends of tensors in a buffer of {} values must ascend to {}: {}",
                            ends.size(), values.size(), values.size(), what));
  };
  std::vector<Tensor> tensors;
  std::size_t begin = 0;
  for (const std::size_t end : ends) {
    if (end < begin || end > values.size()) fail(fmt::format("{} follows {}", end, begin));
    tensors.push_back({.data = values.data() + begin, .count = end - begin});
    begin = end;
  }
  if (begin != values.size()) fail(fmt::format("the last is {}", begin));
  return tensors;
}

}  // namespace

class Communicator::Impl : public collective::Session {
  using Session::Session;
};

Communicator::Communicator(std::unique_ptr<transport::Transport> transport,
                           const CommunicatorOptions& options)
    : impl_(std::make_unique<Impl>(std::move(transport), options)) {}
Communicator::Communicator(Communicator&&) noexcept = default;
Communicator& Communicator::operator=(Communicator&&) noexcept = default;
Communicator::~Communicator() = default;

int Communicator::rank() const { return impl_->rank(); }
int Communicator::size() const { return impl_->size(); }

Report Communicator::allreduce(std::span<const Tensor> tensors, const AllreduceOptions& options) {
  return collective::allreduce(*impl_, tensors, options);
}

Report Communicator::allreduce(std::span<float> values, const AllreduceOptions& options) {
  const Tensor tensor{.data = values.data(), .count = values.size()};
  return allreduce({&tensor, 1}, options);
}

Report Communicator::allreduce(std::span<float> values, std::span<const std::size_t> ends,
                               const AllreduceOptions& options) {
  std::vector<Tensor> tensors;
  try {
    tensors = tensors_in(values, ends);
  } catch (const Error& error) {
    refuse(error.what());
    throw;
  }
  return allreduce(tensors, options);
}

void Communicator::broadcast(std::span<std::byte> bytes, int root) {
  collective::broadcast(*impl_, bytes, root);
}
void Communicator::allgather(std::span<const std::byte> mine, std::span<std::byte> all) {
  collective::allgather(*impl_, mine, all);
}
void Communicator::barrier() { collective::barrier(*impl_); }
void Communicator::refuse(const std::string& reason, ErrorCode code) {
  impl_->refuse(reason, code);
}
void Communicator::abort() { impl_->abort(); }

std::vector<Communicator> make_thread_communicators(int ranks, const CommunicatorOptions& options) {
  std::vector<Communicator> communicators;
  for (auto& transport : transport::make_thread_transports(ranks)) {
    communicators.emplace_back(std::move(transport), options);
  }
  return communicators;
}

}  // namespace cpdcomm
