// `hierarchical`: what hosts give is what emulated nodes give, and what the specification says.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "collective/chunks.hpp"
#include "collective/sum_case.hpp"
#include "cpdcomm/codec.hpp"
#include "support/bits.hpp"
#include "support/hosts_transport.hpp"

namespace cpdcomm::testing {
namespace {

using Values = std::vector<float>;

#ifdef CPDCOMM_LIGHT_TESTS
constexpr int kHosts = 2;
constexpr int kPerHost = 3;
const std::vector<const char*> kFormats{"e4m3", "bfp8:64"};
constexpr const char* kFloatFormats[] = {"e4m3", "fp32"};
#else
constexpr int kHosts = 4;
constexpr int kPerHost = 8;
const std::vector<const char*> kFormats{"e4m3",   "e3m0",    "e5m2",  "bf16",    "fp32",
                                        "e2m1fn", "bfp8:64", "mxfp4", "int4:64", "sign:64"};
constexpr const char* kFloatFormats[] = {"e4m3", "e3m0", "bf16", "fp32"};
#endif
constexpr int kRanks = kHosts * kPerHost;

/// Some tensors of every rank: [tensor][rank].
std::vector<std::vector<Values>> tensors_of_ranks(const std::vector<std::size_t>& counts) {
  std::vector<std::vector<Values>> tensors;
  for (std::size_t t = 0; t < counts.size(); ++t) {
    tensors.emplace_back();
    for (unsigned rank = 0; rank < kRanks; ++rank) {
      tensors.back().push_back(gradients(counts[t], rank + 100 * static_cast<unsigned>(t)));
    }
  }
  return tensors;
}

/// Sums tensors over all ranks: [tensor], after all ranks were found to have the same.
std::vector<Values> sum_of_ranks(Ranks& ranks, const std::vector<std::vector<Values>>& tensors,
                                 const AllreduceOptions& options) {
  PerRank<std::vector<Values>> results(static_cast<std::size_t>(ranks.size()));
  ranks.run([&](Communicator& self) {
    std::vector<Values>& mine = results[index_of(self)];
    std::vector<Tensor> described;
    for (const auto& by_rank : tensors) mine.push_back(by_rank[index_of(self)]);
    for (Values& values : mine)
      described.push_back({.data = values.data(), .count = values.size()});
    self.allreduce(described, options);
  });
  for (const auto& of_rank : results) {
    for (std::size_t t = 0; t < tensors.size(); ++t) {
      EXPECT_TRUE(same_bits(of_rank[t], results[0][t])) << "tensor " << t;
    }
  }
  return results[0];
}

/// The same of one rank a host, which emulates the others as its nodes.
std::vector<Values> sum_of_nodes(Ranks& hosts, const std::vector<std::vector<Values>>& tensors,
                                 AllreduceOptions options) {
  options.emulate_nodes = kPerHost;
  options.algorithm = options.across;
  PerRank<std::vector<Values>> results(kHosts);
  hosts.run([&](Communicator& self) {
    std::vector<Values>& mine = results[index_of(self)];
    std::vector<std::vector<const void*>> nodes;
    std::vector<Tensor> described;
    for (const auto& by_rank : tensors) {
      nodes.emplace_back();
      for (std::size_t node = 0; node < kPerHost; ++node) {
        nodes.back().push_back(by_rank[index_of(self) * kPerHost + node].data());
      }
      mine.emplace_back(by_rank[0].size());
    }
    for (std::size_t t = 0; t < tensors.size(); ++t) {
      described.push_back({.data = mine[t].data(), .count = mine[t].size(), .nodes = nodes[t]});
    }
    self.allreduce(described, options);
  });
  return results[0];
}

struct Setting {
  const char* name;
  Accumulate accumulate;
  Rounding rounding;
};

class HostsAndNodes : public ::testing::TestWithParam<Setting> {
 protected:
  AllreduceOptions options(const char* wire, Algorithm across) const {
    AllreduceOptions options{.wire = Format::parse(wire), .accumulate = GetParam().accumulate};
    options.algorithm = Algorithm::hierarchical;
    options.across = across;
    options.inner.reset();  // as the wire
    options.rounding = GetParam().rounding;
    options.seed = 5;
    options.step = 6;
    return options;
  }
  std::vector<const char*> formats() const {
    std::vector<const char*> formats = kFormats;
    if (GetParam().accumulate != Accumulate::wide) {
      std::erase_if(formats, [](const char* name) { return !Format::parse(name).is_float(); });
    }
    return formats;
  }

  void expect_same_chunks(const AllreduceOptions& asked) {
    constexpr std::size_t kChunk = 64 * 2;
    constexpr std::size_t kCount = kChunk * kRanks;
    const auto all = tensors_of_ranks({0, kCount, 0});
    const Values got = sum_of_ranks(ranks_, all, asked)[1];
    for (std::size_t start = 0; start < kHosts; ++start) {
      const auto others = tensors_of_ranks({start * kCount, 0, (kHosts - 1 - start) * kCount});
      const Values wanted = sum_of_nodes(hosts_, {others[0], all[1], others[2]}, asked)[1];
      for (std::size_t k = start; k < kRanks; k += kHosts) {
        const auto chunk = [k](const Values& of) {
          return std::span(of).subspan(k * kChunk, kChunk);
        };
        ASSERT_TRUE(same_bits(chunk(got), chunk(wanted))) << "chunk " << k;
      }
    }
  }

  Ranks ranks_{make_thread_communicators(kRanks, Ranks::patient(700), kPerHost)};
  Ranks hosts_{kHosts, Ranks::patient(500)};
};

constexpr Setting kNearest[] = {{"wide", Accumulate::wide, Rounding::nearest_even},
                                {"rounded", Accumulate::rounded, Rounding::nearest_even},
                                {"kahan", Accumulate::kahan, Rounding::nearest_even}};
constexpr Setting kStochastic[] = {{"wide", Accumulate::wide, Rounding::stochastic},
                                   {"rounded", Accumulate::rounded, Rounding::stochastic}};

std::string print_setting(const ::testing::TestParamInfo<Setting>& test) { return test.param.name; }

class NearestHostsAndNodes : public HostsAndNodes {};

INSTANTIATE_TEST_SUITE_P(ToNearest, HostsAndNodes, ::testing::ValuesIn(kNearest), print_setting);
INSTANTIATE_TEST_SUITE_P(Stochastic, HostsAndNodes, ::testing::ValuesIn(kStochastic),
                         print_setting);
INSTANTIATE_TEST_SUITE_P(, NearestHostsAndNodes, ::testing::ValuesIn(kNearest), print_setting);

/// Directly, and to the nearest, it does not matter who joins.
TEST_P(NearestHostsAndNodes, GiveTheSameBitsDirectly) {
  // Tensors whose ends are in the middle of everything.
  const auto tensors = tensors_of_ranks({4099, 0, 1, 777});
  for (const char* wire : formats()) {
    SCOPED_TRACE(wire);
    for (const bool average : {false, true}) {
      AllreduceOptions asked = options(wire, Algorithm::direct);
      asked.op = average ? ReduceOp::average : ReduceOp::sum;
      const auto got = sum_of_ranks(ranks_, tensors, asked);
      const auto wanted = sum_of_nodes(hosts_, tensors, asked);
      for (std::size_t t = 0; t < tensors.size(); ++t) ASSERT_TRUE(same_bits(got[t], wanted[t]));
    }
  }
}

TEST_P(NearestHostsAndNodes, GiveTheSameBitsWithExponentsOfGroups) {
  const auto tensors = tensors_of_ranks({4099, 500});
  for (const std::size_t group : {64u, 1024u}) {
    AllreduceOptions asked = options("e3m0", Algorithm::direct);
    asked.scaling = {Scaling::Kind::aps, group};
    const auto got = sum_of_ranks(ranks_, tensors, asked);
    const auto wanted = sum_of_nodes(hosts_, tensors, asked);
    for (std::size_t t = 0; t < tensors.size(); ++t) ASSERT_TRUE(same_bits(got[t], wanted[t]));
  }
}

/// The order of the hosts round a ring, and the random words of who joins, depend on the chunk. So
/// a tensor is put into each of the chunks of the emulating ranks, between two others; on hosts
/// chunk k is that of host k % kHosts.
TEST_P(HostsAndNodes, GiveTheSameBitsChunkByChunk) {
  for (const Algorithm across : {Algorithm::direct, Algorithm::ring}) {
    for (const char* wire : formats()) {
      SCOPED_TRACE(::testing::Message() << wire << " by " << to_string(across));
      AllreduceOptions asked = options(wire, across);
      expect_same_chunks(asked);
      if (asked.wire.is_fp32() || !asked.wire.is_float()) continue;
      asked.scaling = {Scaling::Kind::aps, 64};
      expect_same_chunks(asked);
    }
  }
}

/// Hosts that differ in size, scattered among the ranks.
struct Shape {
  std::vector<int> hosts;

  std::size_t count() const {
    return static_cast<std::size_t>(*std::max_element(hosts.begin(), hosts.end())) + 1;
  }
  std::size_t smallest() const {
    std::vector<std::size_t> sizes(count());
    for (const int host : hosts) ++sizes[static_cast<std::size_t>(host)];
    return *std::min_element(sizes.begin(), sizes.end());
  }
  /// The ranks' parts, by host in the order of the ranks.
  std::vector<Parts> by_host(const std::vector<Values>& parts) const {
    std::vector<Parts> sorted(count());
    for (std::size_t rank = 0; rank < hosts.size(); ++rank) {
      sorted[static_cast<std::size_t>(hosts[rank])].push_back(parts[rank]);
    }
    return sorted;
  }
};

const std::vector<Shape>& shapes() {
  static const std::vector<Shape> shapes{
      {{0, 1, 0, 2, 1, 0, 0}}, {{0, 0, 0, 1, 1}}, {{0, 1, 1, 0}}, {{0, 0, 0}}, {{0, 1, 2}}, {{0}}};
  return shapes;
}

/// FP32 sums of what stands in a host's parts, in their order.
std::vector<Parts> summed_inside(const std::vector<Parts>& by_host) {
  std::vector<Parts> sums;
  for (const Parts& parts : by_host) {
    Values sum(parts[0].size(), 0.0f);
    for (const Values& part : parts) {
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += part[i];
    }
    sums.push_back({sum});
  }
  return sums;
}

class UnequalHosts : public ::testing::TestWithParam<Accumulate> {
 protected:
  static constexpr std::size_t kCount = 960;  // in every shape chunks are equal

  static std::vector<Values> parts(const Shape& shape) {
    std::vector<Values> parts;
    for (unsigned rank = 0; rank < shape.hosts.size(); ++rank) {
      parts.push_back(gradients(kCount, rank + 50));
    }
    return parts;
  }

  /// @param inner_fp32  parts join inside a host as they are, and its sum is cast like one part
  static Values wanted(const Shape& shape, const std::vector<Values>& parts, const SumRules& rules,
                       bool inner_fp32) {
    const std::vector<Parts> by_host = shape.by_host(parts);
    const std::vector<Parts> sums = inner_fp32 ? summed_inside(by_host) : by_host;
    const int hosts = static_cast<int>(shape.count());
    const auto schedules = schedules_of(rules, hosts);
    const ReferenceSum reference(sums, rules, schedules, by_host);
    const auto chunks_across = static_cast<std::size_t>(chunks_in(rules, hosts));
    const std::size_t chunk = kCount / (shape.smallest() * chunks_across);
    Values values;
    for (std::size_t i = 0; i < kCount; ++i) {
      values.push_back(reference.at(i, static_cast<int>(i / chunk % chunks_across)));
    }
    return values;
  }

  static void expect_reference(const Shape& shape, const SumRules& rules, bool inner_fp32) {
    const std::vector<Values> mine = parts(shape);
    AllreduceOptions options = rules.options();
    options.across = rules.algorithm;
    options.algorithm = Algorithm::hierarchical;
    if (!inner_fp32) options.inner.reset();
    const Values reference = wanted(shape, mine, rules, inner_fp32);
    for (const std::size_t segment : {std::size_t{0}, std::size_t{96}}) {
      Ranks ranks(make_host_communicators(shape.hosts, Ranks::patient(segment)));
      ASSERT_TRUE(same_bits(sum_of_ranks(ranks, {mine}, options)[0], reference));
    }
  }
};

INSTANTIATE_TEST_SUITE_P(, UnequalHosts,
                         ::testing::Values(Accumulate::wide, Accumulate::rounded,
                                           Accumulate::kahan),
                         [](const auto& test) { return to_string(test.param); });

TEST_P(UnequalHosts, GiveTheReferencesSum) {
  for (const char* wire : kFloatFormats) {
    for (const Algorithm across :
         {Algorithm::direct, Algorithm::ring, Algorithm::tree, Algorithm::halving_doubling}) {
      for (const bool inner_fp32 : {false, true}) {
        if (inner_fp32 && wire == std::string("fp32")) continue;  // then inner is the wire format
        for (const Shape& shape : shapes()) {
          SCOPED_TRACE(::testing::Message()
                       << wire << " across by " << to_string(across) << ", "
                       << (inner_fp32 ? "fp32" : "wire") << " inside " << shape.count()
                       << " hosts of " << shape.hosts.size() << " ranks");
          SumRules rules{.wire = Format::parse(wire), .accumulate = GetParam()};
          rules.algorithm = across;
          expect_reference(shape, rules, inner_fp32);
        }
      }
    }
  }
}

Values rounded(Values values, const char* format) {
  quantize(values, Format::parse(format), values);
  return values;
}

void add(Values& to, const Values& part) {
  for (std::size_t i = 0; i < to.size(); ++i) to[i] += part[i];
}

TEST(HostsOfBlocks, CastEachHostsSumOnce) {
  // Of blocks with the inner formats fp32, bf16 and the wire: what joins inside is cast to inner.
  for (const char* wire : {"bfp8:64", "int4:64", "mxfp4", "sign:64"}) {
    for (const char* inner : {"fp32", "bf16", "wire"}) {
      SCOPED_TRACE(::testing::Message() << wire << ", inside " << inner);
      const std::string inside = inner == std::string("wire") ? wire : inner;
      const Shape shape = shapes()[0];
      std::vector<Values> parts;
      for (unsigned rank = 0; rank < shape.hosts.size(); ++rank) {
        parts.push_back(gradients(1003, rank));
      }
      Values wanted(parts[0].size(), 0.0f);
      for (const Parts& host : shape.by_host(parts)) {
        Values sum(wanted.size(), 0.0f);
        for (const Values& part : host) add(sum, rounded(part, inside.c_str()));
        // A host of one rank has its part, not a sum: it is cast from the gradients at once.
        add(wanted, rounded(host.size() == 1 ? host[0] : sum, wire));
      }
      AllreduceOptions options{.wire = Format::parse(wire)};
      options.algorithm = Algorithm::hierarchical;
      options.across = Algorithm::direct;
      options.inner = parse_inner(inner);
      Ranks ranks(make_host_communicators(shape.hosts, Ranks::patient(200)));
      ASSERT_TRUE(same_bits(sum_of_ranks(ranks, {parts}, options)[0], rounded(wanted, wire)));
    }
  }
}

}  // namespace
}  // namespace cpdcomm::testing
