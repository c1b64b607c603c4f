#include <gtest/gtest.h>

#include <cstring>

#include "collective/message.hpp"
#include "collective/sum_case.hpp"
#include "support/formats.hpp"
#include "support/random.hpp"
#include "support/wrapped_transport.hpp"
#include "transport/threads.hpp"

namespace cpdcomm::testing {
namespace {

#ifdef CPDCOMM_LIGHT_TESTS
constexpr std::size_t kCount = 1 << 18;
#else
constexpr std::size_t kCount = 1 << 20;
#endif

/// What each rank of a call reports.
PerRank<Report> reports_of(int count, const AllreduceOptions& options) {
  Ranks ranks(count);
  PerRank<Report> reports(static_cast<std::size_t>(count));
  ranks.run([&](Communicator& self) {
    std::vector<float> values(kCount, 1.0f);
    reports[index_of(self)] = self.allreduce(values, options);
  });
  return reports;
}

double share_of(const Report& report, int ranks, Format wire) {
  const double all = 2.0 * (ranks - 1) / ranks * static_cast<double>(kCount) * wire.code_bits() / 8;
  return static_cast<double>(report.wire_bytes) / all;
}

TEST(WireBytes, AreThoseOfTheFormat) {
  for (const int ranks : {2, 3, 8}) {
    for (const auto algorithm : {Algorithm::direct, Algorithm::ring}) {
      for (const char* name : {"e3m0", "e4m3", "e5m5", "fp32"}) {
        const Format wire = Format::parse(name);
        for (const Report& report : reports_of(ranks, {.wire = wire, .algorithm = algorithm})) {
          EXPECT_GT(share_of(report, ranks, wire), 1.0);
          EXPECT_LT(share_of(report, ranks, wire), 1.02)
              << ranks << " ranks, " << name << ", " << to_string(algorithm);
          EXPECT_EQ(report.logical_bytes, kCount * sizeof(float));
          EXPECT_EQ(report.algorithm, algorithm);
        }
      }
    }
  }
}

TEST(WireBytes, OfTheCompensationTravelOnlyByHops) {
  const Format wire = Format::parse("e4m3");
  AllreduceOptions options{.wire = wire, .accumulate = Accumulate::kahan};
  options.algorithm = Algorithm::direct;
  for (const Report& report : reports_of(4, options)) {
    EXPECT_LT(share_of(report, 4, wire), 1.02);
  }
  options.algorithm = Algorithm::ring;
  for (const Report& report : reports_of(4, options)) {
    EXPECT_GT(share_of(report, 4, wire), 1.49);  // pairs one way, results the other
    EXPECT_LT(share_of(report, 4, wire), 1.52);
  }
}

/// Counts by itself what it is given to send, but for what ranks say about their calls.
class CountingTransport final : public WrappedTransport {
 public:
  CountingTransport(std::unique_ptr<Transport> inner, std::uint64_t& bytes)
      : WrappedTransport(std::move(inner)), bytes_(bytes) {}

 private:
  transport::Request start_send(int peer, int channel, std::span<const std::byte> bytes) override {
    collective::MessageHeader header;
    std::memcpy(&header, bytes.data(), sizeof header);
    if (header.kind == collective::Kind::data) bytes_ += bytes.size();
    return WrappedTransport::start_send(peer, channel, bytes);
  }

  std::uint64_t& bytes_;
};

TEST(WireBytes, AreAllThatIsSentForTheCall) {
  PerRank<std::uint64_t> sent(3, 0);
  std::vector<Communicator> communicators;
  for (auto& transport : transport::make_thread_transports(3)) {
    const auto rank = static_cast<std::size_t>(transport->rank());
    communicators.emplace_back(
        std::make_unique<CountingTransport>(std::move(transport), sent[rank]));
  }
  Ranks ranks(std::move(communicators));
  PerRank<std::uint64_t> reported(3, 0);
  Random random(1);
  for (int call = 0; call < 20; ++call) {
    const std::size_t count = random.below(30000);
    const auto algorithm = call % 2 == 0 ? Algorithm::ring : Algorithm::direct;
    ranks.run([&](Communicator& self) {
      std::vector<float> values(count, 1.0f);
      reported[index_of(self)] +=
          self.allreduce(values, {.wire = Format::floating(4, 3), .algorithm = algorithm})
              .wire_bytes;
    });
  }
  EXPECT_EQ(reported, sent);
}

/// A rank that waits for long says so, which depends on chance.
TEST(WireBytes, AreTheSameHoweverLongARankWaits) {
  Ranks ranks(2);
  PerRank<std::uint64_t> sent(2, 0);
  for (const int late : {0, 500}) {
    ranks.run([&](Communicator& self) {
      if (self.rank() == 1) std::this_thread::sleep_for(std::chrono::milliseconds(late));
      std::vector<float> values(100, 1.0f);
      const std::uint64_t bytes =
          self.allreduce(values, {.algorithm = Algorithm::direct}).wire_bytes;
      EXPECT_TRUE(late == 0 || bytes == sent[index_of(self)]) << bytes;
      sent[index_of(self)] = bytes;
    });
  }
}

TEST(WireBytes, OfOneRankAreNone) {
  for (const auto algorithm : {Algorithm::automatic, Algorithm::direct, Algorithm::ring}) {
    EXPECT_EQ(reports_of(1, {.wire = Format::floating(4, 3), .algorithm = algorithm})[0].wire_bytes,
              0u);
  }
}

TEST(Report, NamesTheAlgorithmThatWasChosen) {
  const PerRank<Report> reports = reports_of(2, {});
  EXPECT_EQ(reports[0].algorithm, reports[1].algorithm);
  EXPECT_NE(reports[0].algorithm, Algorithm::automatic);
  EXPECT_GT(reports[0].codec_seconds, 0.0);
  EXPECT_GE(reports[0].wait_seconds, 0.0);
}

}  // namespace
}  // namespace cpdcomm::testing
