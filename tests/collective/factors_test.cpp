// Powers of two on the way in and out, and halves into FP32: no rounding of their own.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "cpdcomm/codec.hpp"
#include "support/bits.hpp"
#include "support/hosts_transport.hpp"
#include "support/patterns.hpp"
#include "support/ranks.hpp"
#include "support/reference_cast.hpp"

namespace cpdcomm::testing {
namespace {

using Values = std::vector<float>;

constexpr std::size_t kCount = 2011;
constexpr int kRanks = 4;

const Algorithm kAlgorithms[] = {Algorithm::direct, Algorithm::ring, Algorithm::tree,
                                 Algorithm::halving_doubling, Algorithm::hierarchical};

/// Without FP32 subnormals, so that factors are exact.
PerRank<Values> normal_parts() {
  PerRank<Values> parts;
  for (unsigned rank = 0; rank < kRanks; ++rank) {
    parts.push_back(gradients(kCount, rank + 3));
    for (float& x : parts.back()) {
      if (std::abs(x) < 0x1p-60f) x = 0;
    }
  }
  return parts;
}

PerRank<Values> times(PerRank<Values> parts, int exponent) {
  for (Values& part : parts) {
    for (float& x : part) x = std::ldexp(x, exponent);
  }
  return parts;
}

Values sum(const PerRank<Values>& parts, const AllreduceOptions& options, int in = 0, int out = 0) {
  Ranks ranks(make_host_communicators({0, 1, 1, 0}, Ranks::patient(400)));
  PerRank<Values> results = parts;
  ranks.run([&](Communicator& self) {
    Values& values = results[index_of(self)];
    const Tensor tensor{.data = values.data(),
                        .count = values.size(),
                        .input_exponent = in,
                        .output_exponent = out};
    self.allreduce({&tensor, 1}, options);
  });
  for (const Values& result : results) EXPECT_TRUE(same_bits(result, results[0]));
  return results[0];
}

std::vector<AllreduceOptions> ways() {
  std::vector<AllreduceOptions> ways;
  for (const Algorithm algorithm : kAlgorithms) {
    for (const char* wire : {"e4m3", "e3m0", "bf16", "fp32", "bfp8:64", "int4:64", "mxfp4"}) {
      AllreduceOptions options{.wire = Format::parse(wire), .algorithm = algorithm};
      options.across = Algorithm::direct;
      ways.push_back(options);
      const Format::Kind kind = options.wire.kind();
      if (kind != Format::Kind::bfp && kind != Format::Kind::integer) continue;
      options.accumulate = Accumulate::exact;
      ways.push_back(options);
    }
  }
  return ways;
}

TEST(Factors, AreThoseOfMultiplyingBeforehandAndAfterwards) {
  const PerRank<Values> parts = normal_parts();
  for (const AllreduceOptions& options : ways()) {
    for (const int in : {-7, 13}) {
      SCOPED_TRACE(::testing::Message()
                   << options.wire.to_string() << " " << to_string(options.algorithm) << " "
                   << to_string(options.accumulate) << " 2^" << in);
      const Values wanted = sum(times(parts, in), options);
      EXPECT_TRUE(same_bits(sum(parts, options, in), wanted));
      EXPECT_TRUE(same_bits(sum(parts, options, in, -in), times({wanted}, -in)[0]));
    }
  }
}

TEST(Factors, RoundOnceAmongSubnormals) {
  // One rank brings values, so that the result is their cast: 2^-140 and what is near half of it.
  // On the way in a factor that made subnormals of them first would round twice.
  PerRank<Values> parts(kRanks, Values(64, 0.0f));
  parts[0][0] = 1.0f;
  for (std::size_t i = 1; i < 64; ++i) {
    parts[0][i] = 0x1p-10f * (1.0f + static_cast<float>(i) * 0x1p-20f);
  }
  for (const char* name : {"e4m3", "e5m10", "e8m10"}) {
    const Format wire = Format::parse(name);
    constexpr int kIn = -126;
    constexpr int kMore = -14;
    const PerRank<Values> small = times(parts, kMore);
    const int shift = top_exponent(wire) - reference_exponent(std::ldexp(1.0f, kMore), kRanks);
    for (const Algorithm algorithm : kAlgorithms) {
      AllreduceOptions options{.wire = wire, .algorithm = algorithm};
      options.inner.reset();  // inside hosts, too: FP32 would be subnormal there
      options.across = Algorithm::direct;
      const Values got = sum(small, options, kIn);
      for (std::size_t i = 0; i < 64; ++i) {
        const float code = reference_cast(small[0][i], wire, shift, true);
        ASSERT_EQ(bits(got[i]), bits(reference_cast(code, Format(), kIn - shift)))
            << name << " " << to_string(algorithm) << " " << i;
      }
    }
  }
}

TEST(Factors, MayDifferBetweenRanksOnlyAsAMismatch) {
  Ranks ranks(2);
  const auto outcomes = ranks.outcomes([&](Communicator& self) {
    Values values(10, 1.0f);
    const Tensor tensor{.data = values.data(), .count = 10, .input_exponent = self.rank()};
    self.allreduce({&tensor, 1});
  });
  for (const Outcome& outcome : outcomes) EXPECT_TRUE(outcome.is(ErrorCode::mismatch)) << outcome;
}

TEST(Factors, HaveLimits) {
  Ranks ranks(1);
  for (const bool in : {false, true}) {
    for (const int wrong : {-127, 127}) {
      Values values(10, 1.0f);
      Tensor tensor{.data = values.data(), .count = 10};
      (in ? tensor.input_exponent : tensor.output_exponent) = wrong;
      const Outcome outcome = outcome_of([&] { ranks[0].allreduce({&tensor, 1}); });
      EXPECT_TRUE(outcome.is(ErrorCode::invalid_argument)) << outcome;
      EXPECT_NE(outcome.message.find(std::to_string(wrong)), std::string::npos) << outcome;
    }
  }
}

TEST(InputTypes, HalvesAreSummedIntoFp32) {
  for (const DataType type : {DataType::fp16, DataType::bf16}) {
    const Format stored = Format::parse(to_string(type));
    PerRank<std::vector<std::byte>> halves(kRanks, std::vector<std::byte>(2 * kCount));
    PerRank<Values> exact = normal_parts();
    for (std::size_t rank = 0; rank < kRanks; ++rank) {
      encode(exact[rank], stored, halves[rank]);
      decode(halves[rank], stored, exact[rank]);
    }
    for (const AllreduceOptions& options : ways()) {
      Ranks ranks(make_host_communicators({0, 1, 1, 0}, Ranks::patient(400)));
      const Values wanted = sum(exact, options);
      ranks.run([&](Communicator& self) {
        Values result(kCount, -77.0f);
        const Tensor tensor{.data = result.data(),
                            .count = kCount,
                            .input = halves[index_of(self)].data(),
                            .input_type = type};
        const Report report = self.allreduce({&tensor, 1}, options);
        EXPECT_TRUE(same_bits(result, wanted)) << options.wire.to_string();
        EXPECT_EQ(report.non_finite, std::vector<bool>{false});
      });
    }
  }
}

}  // namespace
}  // namespace cpdcomm::testing
