// No message is longer than its memory, whatever has to go into it.
#include <gtest/gtest.h>

#include "collective/sum_case.hpp"
#include "support/bits.hpp"
#include "support/hosts_transport.hpp"

namespace cpdcomm::testing {
namespace {

using Values = std::vector<float>;

/// Fails the test for a message that is too long: what it was written to is longer than a buffer.
class MeasuredTransport final : public WrappedTransport {
 public:
  using WrappedTransport::WrappedTransport;

 private:
  transport::Request start_send(int peer, int channel, std::span<const std::byte> bytes) override {
    EXPECT_LE(bytes.size(), transport::kLongestMessage);
    return WrappedTransport::start_send(peer, channel, bytes);
  }
};

/// Ranks on hosts; none is a host of its own where `ranks_per_host` is 0.
Ranks measured_ranks(int ranks, int ranks_per_host, std::size_t segment_bytes) {
  std::vector<Communicator> communicators;
  for (auto& transport : transport::make_thread_transports(ranks, ranks_per_host)) {
    communicators.emplace_back(std::make_unique<MeasuredTransport>(std::move(transport)),
                               Ranks::patient(segment_bytes));
  }
  return Ranks(std::move(communicators));
}

constexpr std::size_t kSmallSegment = 4096;

/// The sums of calls in a row, each with memory of the one before; the same on all ranks.
std::vector<Values> sums(int ranks, std::size_t segment_bytes, const AllreduceOptions& options,
                         std::size_t count, unsigned calls) {
  Ranks all = measured_ranks(ranks, 0, segment_bytes);
  PerRank<std::vector<Values>> results(static_cast<std::size_t>(ranks));
  all.run([&](Communicator& self) {
    ScaleMemory memory;
    const bool remembers = options.scaling.kind == Scaling::Kind::delayed;
    for (unsigned call = 0; call < calls; ++call) {
      Values values = gradients(count, 10 * call + static_cast<unsigned>(self.rank()));
      const Tensor tensor{
          .data = values.data(), .count = count, .memory = remembers ? &memory : nullptr};
      self.allreduce({&tensor, 1}, options);
      results[index_of(self)].push_back(std::move(values));
    }
  });
  for (const auto& result : results) {
    for (unsigned call = 0; call < calls; ++call) {
      EXPECT_TRUE(same_bits(result.at(call), results[0].at(call))) << "call " << call;
    }
  }
  return results[0];
}

/// `direct` gives one result, however its chunks are cut.
void expect_sums_of_small_segments(int ranks, const AllreduceOptions& options, std::size_t count,
                                   unsigned calls) {
  const auto wanted = sums(ranks, kSmallSegment, options, count, calls);
  const auto got = sums(ranks, 0, options, count, calls);
  for (unsigned call = 0; call < calls; ++call) {
    EXPECT_TRUE(same_bits(got.at(call), wanted.at(call))) << "call " << call;
  }
}

TEST(MessageSize, HoldsWithDelayedExponentsOfManyValues) {
  AllreduceOptions options{.wire = Format::parse("e4m3"), .algorithm = Algorithm::direct};
  options.scaling = {Scaling::Kind::delayed, 0};
  expect_sums_of_small_segments(4, options, 1'000'003, 2);
}

TEST(MessageSize, HoldsWithAnExponentForEightValuesOfEightRanks) {
  AllreduceOptions options{.wire = Format::parse("e4m3"), .algorithm = Algorithm::direct};
  options.scaling = {Scaling::Kind::aps, 8};
  expect_sums_of_small_segments(8, options, 1'000'003, 1);
}

/// A block of 16,384 values is 64 KiB in FP32, and may not be cut.
TEST(MessageSize, HoldsWithWideBlocksInsideHosts) {
  Ranks ranks = measured_ranks(4, 2, 0);
  AllreduceOptions options{.wire = Format::parse("bfp4:16384")};
  options.algorithm = Algorithm::hierarchical;
  options.across = Algorithm::ring;
  const auto outcomes = ranks.outcomes([&](Communicator& self) {
    Values values = gradients(100'000, static_cast<unsigned>(self.rank()));
    self.allreduce(values, options);
  });
  for (const Outcome& outcome : outcomes) {
    EXPECT_TRUE(outcome.is(ErrorCode::unsupported)) << outcome;
    EXPECT_NE(outcome.message.find("message"), std::string::npos) << outcome;
  }
  // Nothing has happened; a narrower format inside the host will do.
  options.inner.reset();
  PerRank<Values> results(4);
  ranks.run([&](Communicator& self) {
    results[index_of(self)] = gradients(100'000, static_cast<unsigned>(self.rank()));
    self.allreduce(results[index_of(self)], options);
  });
  for (const Values& values : results) EXPECT_TRUE(same_bits(values, results[0]));
}

}  // namespace
}  // namespace cpdcomm::testing
