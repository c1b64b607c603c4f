// `exact`: one result for every algorithm, hosts shape, segment size, number of threads and order
// of the ranks, and that of an independent reference in plain integers.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "cpdcomm/codec.hpp"
#include "support/bits.hpp"
#include "support/hosts_transport.hpp"
#include "support/patterns.hpp"
#include "support/random.hpp"
#include "support/ranks.hpp"
#include "support/reference_cast.hpp"

namespace cpdcomm::testing {
namespace {

using Values = std::vector<float>;

#ifdef CPDCOMM_LIGHT_TESTS
constexpr int kRankCounts[] = {3, 4};
constexpr std::size_t kSegments[] = {0, 100};
constexpr int kOrders = 2;
#else
constexpr int kRankCounts[] = {2, 3, 4, 7, 8};
constexpr std::size_t kSegments[] = {0, 100, 999};
constexpr int kOrders = 6;
#endif

/// One tensor of a call.
struct TensorCase {
  const char* wire;
  std::size_t count;
  DataType type = DataType::fp32;
};

// Blocks, and tensors that end in the middle of one. The first has two segments and more.
const TensorCase kTensors[] = {{"bfp8:64", 2003},
                               {"int4:32", 500},
                               {"bfp3", 130, DataType::bf16},
                               {"int12:8", 77, DataType::fp16},
                               {"bfp8:64", 1}};

/// [tensor][part]
using Parts = std::vector<std::vector<Values>>;

Format format_of(DataType type) { return Format::parse(to_string(type)); }

/// Values of many magnitudes, as a tensor of their type holds them; some blocks are not finite.
Parts parts_of(int ranks) {
  Parts parts;
  for (std::size_t t = 0; t < std::size(kTensors); ++t) {
    parts.emplace_back();
    for (int rank = 0; rank < ranks; ++rank) {
      Values values =
          gradients(kTensors[t].count, static_cast<unsigned>(rank) * 10 + static_cast<unsigned>(t));
      for (float& x : values) x = reference_cast(x, format_of(kTensors[t].type));
      parts.back().push_back(std::move(values));
    }
  }
  parts[0][0][100] = std::numeric_limits<float>::infinity();
  parts[0].back()[1990] = -std::numeric_limits<float>::quiet_NaN();
  parts[1][1][3] = -std::numeric_limits<float>::infinity();
  return parts;
}

/// What numerics.md says of one block, in integers and exact FP64.
class BlockSum {
 public:
  BlockSum(Format wire, float largest) : is_bfp_(wire.kind() == Format::Kind::bfp) {
    const int magnitude_bits = wire.code_bits() - 1;
    most_ = std::ldexp(1.0, magnitude_bits) - 1;
    if (is_bfp_) {
      const int field = static_cast<int>(bits(largest) >> 23 & 255);
      step_ = std::ldexp(1.0, field - 126 - magnitude_bits);
    } else {
      scale_ = largest / static_cast<float>(most_);
      step_ = scale_;
    }
  }

  void add(float x) {
    if (step_ == 0) return;
    const double ratio = is_bfp_ ? static_cast<double>(x) / step_ : static_cast<double>(x / scale_);
    sum_ += static_cast<std::int64_t>(std::clamp(std::nearbyint(ratio), -most_, most_));
  }
  /// @param drop  bits that a cast to the wire format's width takes away
  float value(int drop) const {
    const std::int64_t units = std::llrint(std::ldexp(static_cast<double>(sum_), -drop));
    const double exact = std::ldexp(static_cast<double>(units), drop) * step_;
    constexpr auto kMost = static_cast<double>(std::numeric_limits<float>::max());
    return static_cast<float>(std::clamp(exact, -kMost, kMost));
  }

 private:
  bool is_bfp_;
  double most_ = 0;
  float scale_ = 0;
  double step_ = 0;
  std::int64_t sum_ = 0;
};

Values reference_block(const std::vector<Values>& parts, Format wire, std::size_t first,
                       std::size_t count, Result result) {
  float largest = 0;
  for (const Values& part : parts) {
    for (std::size_t i = first; i < first + count; ++i) {
      if (!std::isfinite(part[i])) return Values(count, value_of(0x7fc00000u));
      largest = std::max(largest, std::abs(part[i]));
    }
  }
  const auto growth = static_cast<int>(std::ceil(std::log2(static_cast<double>(parts.size()))));
  Values sums;
  for (std::size_t i = first; i < first + count; ++i) {
    BlockSum sum(wire, largest);
    for (const Values& part : parts) sum.add(part[i]);
    sums.push_back(sum.value(result == Result::wire ? growth : 0));
  }
  return sums;
}

std::vector<Values> reference(const Parts& parts, Result result, bool average) {
  std::vector<Values> sums;
  for (std::size_t t = 0; t < parts.size(); ++t) {
    const Format wire = Format::parse(kTensors[t].wire);
    sums.emplace_back();
    for (std::size_t first = 0; first < kTensors[t].count; first += wire.block()) {
      const std::size_t count = std::min<std::size_t>(wire.block(), kTensors[t].count - first);
      const Values block = reference_block(parts[t], wire, first, count, result);
      sums.back().insert(sums.back().end(), block.begin(), block.end());
    }
    for (float& x : sums.back()) {
      if (average) x /= static_cast<float>(parts[t].size());
      x = reference_cast(x, format_of(kTensors[t].type));
    }
  }
  return sums;
}

std::vector<std::byte> stored(const Values& values, DataType type) {
  std::vector<std::byte> bytes(values.size() * size_of(type));
  encode(values, format_of(type), bytes);
  return bytes;
}

Values loaded(const std::vector<std::byte>& bytes, DataType type) {
  Values values(bytes.size() / size_of(type));
  decode(bytes, format_of(type), values);
  return values;
}

/// What a rank gets; `order` says whose part each rank brings.
std::vector<Values> sum_on(Communicator& self, const Parts& parts,
                           const std::vector<std::size_t>& order, const AllreduceOptions& options) {
  std::vector<std::vector<std::byte>> memory;
  std::vector<Tensor> tensors;
  for (std::size_t t = 0; t < parts.size(); ++t) {
    memory.push_back(stored(parts[t][order[index_of(self)]], kTensors[t].type));
  }
  for (std::size_t t = 0; t < parts.size(); ++t) {
    tensors.push_back({.data = memory[t].data(),
                       .count = kTensors[t].count,
                       .type = kTensors[t].type,
                       .wire = Format::parse(kTensors[t].wire)});
  }
  const Report report = self.allreduce(tensors, options);
  EXPECT_EQ(report.non_finite, (std::vector<bool>{true, true, false, false, false}));
  std::vector<Values> sums;
  for (std::size_t t = 0; t < parts.size(); ++t) {
    sums.push_back(loaded(memory[t], kTensors[t].type));
  }
  return sums;
}

std::vector<AllreduceOptions> ways(bool with_hosts) {
  std::vector<AllreduceOptions> ways;
  for (const Algorithm algorithm : {Algorithm::direct, Algorithm::ring, Algorithm::tree,
                                    Algorithm::halving_doubling, Algorithm::automatic}) {
    AllreduceOptions options{.wire = Format::parse("bfp8"), .accumulate = Accumulate::exact};
    options.algorithm = with_hosts ? Algorithm::hierarchical : algorithm;
    if (with_hosts) options.across = algorithm;
    ways.push_back(options);
  }
  return ways;
}

/// Each rank alone, hosts of two (and a rest), and unequal ones that lie anyhow.
std::vector<std::vector<int>> shapes(int ranks) {
  std::vector<int> alone;
  std::vector<int> pairs;
  std::vector<int> mixed;
  for (int rank = 0; rank < ranks; ++rank) {
    alone.push_back(rank);
    pairs.push_back(rank / 2);
    mixed.push_back(rank % 3 == 1 ? 1 : 0);
  }
  return {alone, pairs, mixed};
}

class ExactSums : public ::testing::TestWithParam<int> {
 protected:
  static constexpr int kSeed = 3;

  /// By every algorithm, with a few orders of the ranks.
  void expect_reference(Ranks& ranks, bool with_hosts) {
    Random random(kSeed);
    std::vector<std::size_t> order(static_cast<std::size_t>(GetParam()));
    std::iota(order.begin(), order.end(), 0);
    for (int turn = 0; turn < kOrders; ++turn) {
      for (AllreduceOptions options : ways(with_hosts)) {
        SCOPED_TRACE(::testing::Message() << to_string(options.algorithm) << " across by "
                                          << to_string(options.across) << ", order " << turn);
        options.result = turn % 2 == 0 ? Result::full : Result::wire;
        options.op = turn / 2 % 2 == 0 ? ReduceOp::sum : ReduceOp::average;
        expect_reference(ranks, order, options);
        if (HasFatalFailure()) return;
      }
      std::shuffle(order.begin(), order.end(), random);
    }
  }

 private:
  void expect_reference(Ranks& ranks, const std::vector<std::size_t>& order,
                        const AllreduceOptions& options) {
    const bool average = options.op == ReduceOp::average;
    const std::vector<Values> wanted = reference(parts_, options.result, average);
    ranks.run([&](Communicator& self) {
      const std::vector<Values> got = sum_on(self, parts_, order, options);
      for (std::size_t t = 0; t < wanted.size(); ++t) {
        ASSERT_TRUE(same_bits(got[t], wanted[t])) << "tensor " << t << " of rank " << self.rank();
      }
    });
  }

  Parts parts_ = parts_of(GetParam());
};

INSTANTIATE_TEST_SUITE_P(, ExactSums, ::testing::ValuesIn(kRankCounts),
                         [](const auto& test) { return std::to_string(test.param) + "_ranks"; });

TEST_P(ExactSums, AreThoseOfIntegersHoweverTheyComeAbout) {
  for (const auto& hosts : shapes(GetParam())) {
    for (const std::size_t segment : kSegments) {
      for (const int threads : {1, 3}) {
        SCOPED_TRACE(::testing::Message()
                     << 1 + *std::max_element(hosts.begin(), hosts.end()) << " hosts, segments of "
                     << segment << ", " << threads << " threads");
        CommunicatorOptions options = Ranks::patient(segment);
        options.codec_threads = threads;
        Ranks ranks(make_host_communicators(hosts, options));
        const bool alone = hosts.back() + 1 == GetParam();
        if (alone) expect_reference(ranks, false);
        expect_reference(ranks, true);
      }
    }
  }
}

TEST(ExactSumsOfChance, DependOnNoSegmentAndNoThread) {
  // Random words belong to the ranks, so their order counts, and nothing else.
  const Parts parts = parts_of(4);
  std::vector<std::size_t> order{0, 1, 2, 3};
  std::vector<Values> wanted;
  for (const std::size_t segment : kSegments) {
    for (const int threads : {1, 3}) {
      CommunicatorOptions communicator_options = Ranks::patient(segment);
      communicator_options.codec_threads = threads;
      for (const bool hosts : {false, true}) {
        Ranks ranks(make_host_communicators(shapes(4)[1], communicator_options));
        for (AllreduceOptions options : ways(hosts)) {
          options.rounding = Rounding::stochastic;
          options.result = Result::wire;
          PerRank<std::vector<Values>> got(4);
          ranks.run([&](Communicator& self) {
            got[index_of(self)] = sum_on(self, parts, order, options);
          });
          if (wanted.empty()) wanted = got[0];
          for (const auto& of_rank : got) {
            for (std::size_t t = 0; t < wanted.size(); ++t) {
              ASSERT_TRUE(same_bits(of_rank[t], wanted[t])) << to_string(options.algorithm);
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace cpdcomm::testing
