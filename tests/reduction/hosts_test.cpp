// Parts of hosts: sums of their ranks' parts.
#include <gtest/gtest.h>

#include <cmath>

#include "cpdcomm/codec.hpp"
#include "cpdcomm/error.hpp"
#include "reduction/whole_tensor.hpp"
#include "support/bits.hpp"
#include "support/patterns.hpp"

namespace cpdcomm::testing {
namespace {

using reduction::FloatTensor;
using reduction::Host;
using reduction::Input;
using reduction::Join;

constexpr std::size_t kCount = 2600;  // more than a block
constexpr std::size_t kHosts = 4;
constexpr std::size_t kLocal = 8;
constexpr std::int16_t kExponent = 7;

struct Case {
  const char* wire;
  Accumulate accumulate;
  bool stochastic;
};

std::vector<float> part_of(std::size_t rank) {
  return gradients(kCount, static_cast<unsigned>(rank));
}

FloatTensor scaled(const char* wire) {
  FloatTensor tensor = tensor_of(wire);
  if (reduction::takes_scale(tensor.codec)) tensor.exponents = {&kExponent, 1};
  return tensor;
}

WholeTensor::Call call_of(const Case& of, std::uint32_t rank) {
  WholeTensor::Call call{.accumulate = of.accumulate, .divisor = kHosts * kLocal};
  if (of.stochastic) call.draws = RandomStream{.seed = 5, .step = 6, .rank = rank};
  return call;
}

/// A host whose ranks are neighbours; one of them gets the others' parts.
class OneHost {
 public:
  OneHost(const FloatTensor& tensor, const Case& of, std::size_t host, bool parts_travel,
          std::size_t holder)
      : holder_(holder) {
    std::vector<std::uint32_t> ranks;
    for (std::size_t i = 0; i < kLocal; ++i) {
      ranks.push_back(static_cast<std::uint32_t>(host * kLocal + i));
    }
    for (const std::uint32_t rank : ranks) {
      WholeTensor::Call call = call_of(of, rank);
      call.host_ranks = ranks;
      call.parts_travel = parts_travel;
      ranks_.emplace_back(tensor, std::vector<std::vector<float>>{part_of(rank)}, call);
    }
    for (std::size_t i = 0; i < kLocal; ++i) {
      if (i != holder) messages_.push_back(ranks_[i].part({}, Leg::inside_host));
    }
    for (const Bytes& bytes : messages_) inputs_.push_back({bytes.data(), Payload::part, 1});
  }

  Host host() const { return {inputs_, holder_}; }
  WholeTensor& holder() { return ranks_[holder_]; }

 private:
  std::size_t holder_;
  std::vector<WholeTensor> ranks_;
  std::vector<Bytes> messages_;
  std::vector<Input> inputs_;
};

/// The same as one rank that emulates the host's ranks.
WholeTensor emulated(const Case& of, std::size_t host, bool parts_travel) {
  std::vector<std::vector<float>> parts;
  for (std::size_t i = 0; i < kLocal; ++i) parts.push_back(part_of(host * kLocal + i));
  WholeTensor::Call call = call_of(of, static_cast<std::uint32_t>(host));
  call.parts_travel = parts_travel;
  return {scaled(of.wire), parts, call};
}

class Hosts : public ::testing::TestWithParam<Case> {};

TEST_P(Hosts, EncodeTheirPartsAsEmulatedNodesDo) {
  for (std::size_t host = 0; host < kHosts; ++host) {
    OneHost real(scaled(GetParam().wire), GetParam(), host, true, 2 * host);
    WholeTensor model = emulated(GetParam(), host, true);
    EXPECT_EQ(real.holder().part(real.host()), model.part()) << host;
  }
}

TEST_P(Hosts, JoinPartsAsEmulatedNodesDo) {
  std::vector<Bytes> parts;
  for (std::size_t host = 0; host < kHosts; ++host) {
    parts.push_back(emulated(GetParam(), host, true).part());
  }
  const int of_host = kLocal;
  for (std::size_t owner = 0; owner < kHosts; ++owner) {
    OneHost real(scaled(GetParam().wire), GetParam(), owner, true, 7 - owner);
    WholeTensor model = emulated(GetParam(), owner, true);
    std::vector<Input> from_hosts;
    std::vector<Input> from_models;
    for (std::size_t host = 0; host < kHosts; ++host) {
      if (host == owner) continue;
      from_hosts.push_back({parts[host].data(), Payload::part, of_host});
      from_models.push_back({parts[host].data(), Payload::part, 1});
    }
    const Join join{from_hosts, owner, real.host()};
    const Content result{Payload::result, of_host * static_cast<int>(kHosts)};
    const Bytes got = real.holder().join(join, result);
    const Bytes wanted = model.join({from_models, owner}, {Payload::result, kHosts});
    EXPECT_EQ(got, wanted) << owner;
    EXPECT_TRUE(same_bits(real.holder().deliver(got), model.deliver(wanted)));
    EXPECT_TRUE(same_bits(real.holder().keep(join), model.keep({from_models, owner})));
  }
}

TEST_P(Hosts, JoinByHopsAsEmulatedNodesDo) {
  Bytes got;
  Bytes wanted;
  for (int host = 0; host < static_cast<int>(kHosts); ++host) {
    const auto number = static_cast<std::size_t>(host);
    OneHost real(scaled(GetParam().wire), GetParam(), number, false, 3);
    WholeTensor model = emulated(GetParam(), number, false);
    if (host == 0) {
      got = real.holder().part(real.host());
      wanted = model.part();
      continue;
    }
    const Payload payload = host == 1 ? Payload::part : Payload::partial;
    const int ranks = static_cast<int>(kLocal) * host;
    const Bytes last_got = got;
    const Bytes last_wanted = wanted;
    const Input from_host{last_got.data(), payload, ranks};
    const Input from_model{last_wanted.data(), payload, host};
    got = real.holder().join({{&from_host, 1}, 1, real.host()},
                             {Payload::partial, ranks + static_cast<int>(kLocal)});
    wanted = model.join({{&from_model, 1}, 1}, {Payload::partial, host + 1});
    EXPECT_EQ(got, wanted) << host;
  }
}

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const char* wire : {"fp32", "e4m3", "e3m0", "e5m5", "bf16", "e3m2fn"}) {
    for (const auto accumulate : {Accumulate::wide, Accumulate::rounded}) {
      all.push_back({wire, accumulate, false});
      all.push_back({wire, accumulate, true});
    }
    all.push_back({wire, Accumulate::kahan, false});
  }
  for (const char* wire : {"bfp8:64", "int4:128", "mxfp4", "sign"}) {
    all.push_back({wire, Accumulate::wide, false});
    all.push_back({wire, Accumulate::wide, true});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(, Hosts, ::testing::ValuesIn(cases()), [](const auto& test) {
  std::string name = test.param.wire;
  std::replace(name.begin(), name.end(), ':', '_');
  return name + "_" + to_string(test.param.accumulate) + (test.param.stochastic ? "_drawn" : "");
});

/// Parts and sums as `rounded` casts them to e3m1, at whose rank and in what phase.
class Drawn {
 public:
  void cast(std::vector<float>& values, std::uint32_t rank, std::uint16_t phase) const {
    const RandomStream stream{.seed = 5, .step = 6, .phase = phase, .rank = rank};
    quantize(values, Format::parse("e3m1"), values, {.stochastic = stream});
  }
  void add(std::vector<float>& sum, std::size_t part_of_rank, std::uint32_t rank,
           std::uint16_t phase) const {
    std::vector<float> part = small_part(part_of_rank);
    cast(part, static_cast<std::uint32_t>(part_of_rank), 0);
    for (std::size_t i = 0; i < kCount; ++i) sum[i] += part[i];
    cast(sum, rank, phase);
  }
  static std::vector<float> small_part(std::size_t rank) {
    std::vector<float> part = part_of(rank);
    for (float& x : part) x = std::abs(x) > 1 ? 1 / x : x;
    return part;
  }
};

TEST(HostsThatDraw, DoSoUnderTheNumberOfTheRankThatCameLast) {
  // Ranks 5, 9 and 2 share a host; 9 gets the others' parts, and a sum of two other hosts' ranks.
  const Case rule{"e3m1", Accumulate::rounded, true};
  std::vector<WholeTensor> ranks;
  for (const std::uint32_t rank : {5u, 9u, 2u}) {
    WholeTensor::Call call = call_of(rule, rank);
    call.host_ranks = {5, 9, 2};
    ranks.emplace_back(tensor_of("e3m1"), std::vector<std::vector<float>>{Drawn::small_part(rank)},
                       call);
  }
  const Bytes first = ranks[0].part({}, Leg::inside_host);
  const Bytes last = ranks[2].part({}, Leg::inside_host);
  const std::vector<Input> inside{{first.data(), Payload::part, 1},
                                  {last.data(), Payload::part, 1}};
  const Host host{inside, 1};

  const Drawn drawn;
  std::vector<float> part(kCount, 0.0f);
  drawn.add(part, 5, 5, 0);
  drawn.add(part, 9, 9, 1);
  drawn.add(part, 2, 2, 2);
  EXPECT_TRUE(same_bits(decoded(ranks[1].part(host), "e3m1", kCount), part));

  const Bytes before = WholeTensor(tensor_of("e3m1"), {Drawn::small_part(0)}, {}).part();
  const Input other{before.data(), Payload::partial, 2};
  std::vector<float> sum = decoded(before, "e3m1", kCount);
  for (std::size_t i = 0; i < kCount; ++i) sum[i] += part[i];
  drawn.cast(sum, 2, 4);
  const Bytes joined = ranks[1].join({{&other, 1}, 1, host}, {Payload::partial, 5});
  EXPECT_TRUE(same_bits(decoded(joined, "e3m1", kCount), sum));
}

/// The sum of a host's parts, each as it comes out of `inner`.
std::vector<float> inner_sum(const char* inner, int shift) {
  std::vector<float> sum(kCount, 0.0f);
  for (std::size_t rank = 0; rank < kLocal; ++rank) {
    const std::vector<float> part = cast_of(part_of(rank), inner, shift, true);
    for (std::size_t i = 0; i < kCount; ++i) sum[i] += part[i];
  }
  return sum;
}

struct Inner {
  const char* inner;
  int shift;  // of parts inside a host
  const char* wire;
  int to_wire;  // of the host's sum
};

class InnerFormats : public ::testing::TestWithParam<Inner> {};

// emax is 8 of e4m3fn and 15 of e5m2.
INSTANTIATE_TEST_SUITE_P(, InnerFormats,
                         ::testing::Values(Inner{"fp32", 0, "e4m3fn", 8 - kExponent},
                                           Inner{"e5m2", 15 - kExponent, "e4m3fn", 8 - 15},
                                           Inner{"bfp8:64", 0, "e4m3fn", 8 - kExponent},
                                           Inner{"fp32", 0, "bfp8:64", 0},
                                           Inner{"int4:128", 0, "bfp8:64", 0},
                                           Inner{"e5m2", 15 - kExponent, "fp32", kExponent - 15},
                                           Inner{"e5m2", 15 - kExponent, "int4", kExponent - 15}),
                         [](const auto& test) { return std::to_string(test.index); });

TEST_P(InnerFormats, SumInFp32AndAreCastLikeOnePart) {
  const Inner of = GetParam();
  FloatTensor tensor = tensor_of(of.wire);
  tensor.exponents = {&kExponent, 1};
  tensor.inner = codec::codec_for(Format::parse(of.inner));
  const std::vector<float> sum = inner_sum(of.inner, of.shift);
  std::vector<float> at_wire = sum;
  for (float& x : at_wire) x = std::ldexp(x, of.to_wire);
  const bool saturate = reduction::takes_scale(tensor.codec);
  const std::vector<float> part = cast_of(at_wire, of.wire, 0, saturate);

  for (const auto accumulate : {Accumulate::wide, Accumulate::kahan}) {
    const Case rule{of.wire, accumulate, false};
    OneHost host(tensor, rule, 0, true, 5);
    const Bytes bytes = host.holder().part(host.host());
    EXPECT_EQ(bytes.size(), encoded_size(Format::parse(of.wire), kCount));  // no pair
    EXPECT_TRUE(same_bits(decoded(bytes, of.wire, kCount), part));
    // As the host that owns the chunk: the same part, plus +0.
    const Bytes result = host.holder().join({{}, 0, host.host()}, {Payload::result, kLocal});
    std::vector<float> cast = part;
    for (float& x : cast) x += 0.0f;
    EXPECT_TRUE(same_bits(decoded(result, of.wire, kCount), cast_of(cast, of.wire)));
  }
  // By hops a sum enters as it is.
  OneHost host(tensor, {of.wire, Accumulate::wide, false}, 0, false, 5);
  const Bytes result = host.holder().join({{}, 0, host.host()}, {Payload::result, kLocal});
  EXPECT_TRUE(same_bits(decoded(result, of.wire, kCount), part));
}

TEST(InnerFormat, OfPartsIsNotScaledWhereItIsFp32) {
  FloatTensor tensor = scaled("e4m3");
  tensor.inner = codec::codec_for(Format());
  WholeTensor rank(tensor, {part_of(3)}, {.host_ranks = {3, 4}});
  EXPECT_TRUE(same_bits(decoded(rank.part({}, Leg::inside_host), "fp32", kCount), part_of(3)));
  EXPECT_EQ(rank->bytes(0, kCount, {Payload::part, 1, Leg::inside_host}), 4 * kCount);
  EXPECT_EQ(rank->bytes(0, kCount, {Payload::part, 2, Leg::across_hosts}), kCount);
  EXPECT_EQ(rank->bytes(0, kCount, {Payload::result, 2, Leg::inside_host}), kCount);
}

TEST(InnerFormat, SaysHowLargeMessagesOfPairsAre) {
  WholeTensor rank(scaled("e4m3"), {part_of(3)},
                   {.accumulate = Accumulate::kahan, .host_ranks = {3, 4}});
  EXPECT_EQ(rank->bytes(0, 16, {Payload::part, 1, Leg::inside_host}), 16u);
  EXPECT_EQ(rank->bytes(0, 16, {Payload::part, 2, Leg::across_hosts}), 32u);
  EXPECT_EQ(rank->bytes(0, 16, {Payload::partial, 4, Leg::across_hosts}), 32u);
  EXPECT_EQ(rank->bytes(0, 16, {Payload::result, 4, Leg::inside_host}), 16u);
}

TEST(InnerFormat, IsTheWireFormatAlsoWhereThatIsNamed) {
  const Case rule{"e4m3", Accumulate::kahan, false};
  FloatTensor named = scaled("e4m3");
  named.inner = named.codec;
  OneHost host(scaled("e4m3"), rule, 1, true, 2);
  OneHost same(named, rule, 1, true, 2);
  EXPECT_EQ(same.holder().part(same.host()), host.holder().part(host.host()));
}

TEST(InnerFormat, OfOneRankAloneOnItsHostIsNotTaken) {
  FloatTensor tensor = scaled("e4m3");
  tensor.inner = codec::codec_for(Format::parse("e3m0"));
  WholeTensor rank(tensor, {part_of(0)}, {.host_ranks = {0}});
  EXPECT_EQ(rank.part(), WholeTensor(scaled("e4m3"), {part_of(0)}, {}).part());
}

TEST(InnerFormat, MustBeCutWhereTheWireFormatIs) {
  FloatTensor tensor = tensor_of("bfp8:64");
  tensor.inner = codec::codec_for(Format::parse("int8:48"));
  EXPECT_EQ(WholeTensor(tensor, {part_of(0)}, {})->alignment(0), 192u);
  EXPECT_NO_THROW(reduction::check_inner(Format::parse("e4m3"), Format::parse("bfp8:64"), 128));
  const auto message_of = [](const char* wire, const char* inner, std::size_t group) {
    try {
      reduction::check_inner(Format::parse(wire), Format::parse(inner), group);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::unsupported);
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_NE(message_of("e4m3", "bfp8:64", 96).find("multiples of 64"), std::string::npos);
  EXPECT_NE(message_of("bfp8:65528", "int8:65536", 0).find("allowed is 65536"), std::string::npos);
}

}  // namespace
}  // namespace cpdcomm::testing
