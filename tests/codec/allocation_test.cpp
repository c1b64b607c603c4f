// No call of a codec asks for memory, nor does a sum of integers in steady state.
#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "codec/codec.hpp"
#include "codec/exact.hpp"
#include "cpdcomm/codec.hpp"
#include "reduction/exact.hpp"
#include "reduction/shared_scales.hpp"
#include "support/counted_allocations.hpp"
#include "support/formats.hpp"

namespace cpdcomm::testing {
namespace {

/// Allocations while `work` runs.
template <typename F>
int allocations_of(F&& work) {
  const int before = allocations;
  work();
  return allocations - before;
}

TEST(Allocations, AreSeenByThisTest) {
  // A compiler may leave out a new expression, but not a call.
  EXPECT_EQ(allocations_of([] { ::operator delete(::operator new(sizeof(int))); }), 1);
}

TEST(Allocations, DoNotHappenInCodecCalls) {
  std::vector<Format> formats = all_formats();
  for (const char* name :
       {"e4m3fn", "e2m1fn", "bfp8", "bfp9:65536", "mxfp4", "mxint8", "int4", "int12:40", "sign"}) {
    formats.push_back(Format::parse(name));
  }
  std::vector<float> values(5000, 0.3f);
  std::vector<float> out(values.size());
  for (const Format format : formats) {
    SCOPED_TRACE(format.to_string());
    std::vector<std::byte> bytes(encoded_size(format, values.size()));
    EXPECT_EQ(allocations_of([&] {
                const codec::Codec codec = codec::codec_for(format);
                const codec::ConstPlace place{bytes.data(), values.size(), 0};
                for (const bool draws : {false, true}) {
                  CastOptions cast;
                  if (draws) cast.stochastic = RandomStream{};
                  encode(values, format, bytes, cast);
                  decode(bytes, format, out);
                  codec.decode_add(place, values.size(), out.data());
                  quantize(values, format, out, cast);
                  if (format.block() == 0) continue;
                  codec.round_on(values.data(), values.size(), 1.0f, cast, out.data());
                }
              }),
              0);
  }
}

TEST(Allocations, DoNotHappenInSumsOfIntegersAfterTheFirst) {
  const std::vector<float> part(5000, 0.3f);
  std::vector<float> residual(part.size());
  std::vector<float> out(part.size());
  const reduction::Range all{0, 0, part.size()};
  for (const bool draws : {false, true}) {
    const codec::Exact exact(Format::parse("bfp8:24"), 2);
    std::vector<std::uint32_t> words(exact.blocks(part.size()));
    const reduction::Gradients from{{part.data()}, part.size(), DataType::fp32, residual.data()};
    reduction::SharedScales<std::uint32_t> scales({{from, 24, words}},
                                                  reduction::exact_words(exact));
    reduction::ExactSum sum({{from, out.data(), DataType::bf16, words}}, exact, Result::wire, 2.0f,
                            draws ? std::optional(RandomStream{}) : std::nullopt);
    std::vector<std::byte> bytes(part.size() * 2);
    const auto work = [&](reduction::Reduction& reduction, reduction::Slice slice) {
      reduction.encode_part(slice, {}, Leg::across_hosts, bytes.data());
      const reduction::Input input{bytes.data(), Payload::part, 1};
      std::byte* const result = bytes.data() + part.size();
      reduction.join(slice, {{&input, 1}, 0}, {Payload::result, 2}, result);
      reduction.deliver(slice, result);
    };
    const reduction::Range groups{0, 0, words.size()};
    work(scales, {&groups, 1});
    work(sum, {&all, 1});
    EXPECT_EQ(allocations_of([&] {
                work(scales, {&groups, 1});
                work(sum, {&all, 1});
              }),
              0);
  }
}

}  // namespace
}  // namespace cpdcomm::testing
