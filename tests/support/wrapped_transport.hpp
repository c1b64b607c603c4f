#pragma once

#include <memory>
#include <utility>

#include "transport/transport.hpp"

namespace cpdcomm::testing {

/// A transport that passes everything on to another; tests change what they need.
class WrappedTransport : public transport::Transport {
 public:
  explicit WrappedTransport(std::unique_ptr<Transport> inner) : inner_(std::move(inner)) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string_view name() const override { return inner_->name(); }
  int host_of(int rank) const override { return inner_->host_of(rank); }
  std::byte* allocate(std::size_t bytes) override { return inner_->allocate(bytes); }
  bool outlives_rank(transport::Request request) const override {
    return inner_->outlives_rank(request);
  }
  bool done(transport::Request request) override { return inner_->done(request); }
  void expect(int peer, int channel) override { inner_->expect(peer, channel); }
  bool take(int peer, int channel, transport::Arrival& arrival) override {
    return inner_->take(peer, channel, arrival);
  }
  void release(const transport::Arrival& arrival) override { inner_->release(arrival); }
  void progress() override { inner_->progress(); }
  std::optional<std::string> end_of(int peer) override { return inner_->end_of(peer); }
  bool allreduce(const void* in, void* out, std::size_t count, DataType type,
                 ReduceOp op) override {
    return inner_->allreduce(in, out, count, type, op);
  }
  bool has_allreduce(DataType type, ReduceOp op) const override {
    return inner_->has_allreduce(type, op);
  }
  bool sends_wait_for_peers() const override { return inner_->sends_wait_for_peers(); }
  void keep_address() override { inner_->keep_address(); }
  void abandon() override { inner_->abandon(); }

 protected:
  transport::Request start_send(int peer, int channel, std::span<const std::byte> bytes) override {
    return inner_->send(peer, channel, bytes);
  }

 private:
  std::unique_ptr<Transport> inner_;
};

}  // namespace cpdcomm::testing
