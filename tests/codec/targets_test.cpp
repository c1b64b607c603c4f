// Every instruction set that this machine has gives the bits of the plain kernels.
#include "codec/targets.hpp"
#include "codec/arrays.hpp"

#include <gtest/gtest.h>
#include <hwy/aligned_allocator.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "codec/codec.hpp"
#include "cpdcomm/error.hpp"
#include "support/bits.hpp"
#include "support/formats.hpp"
#include "support/random.hpp"

namespace cpdcomm::testing {
namespace {

using codec::Codec;
using codec::ConstPlace;
using codec::Place;

#ifdef CPDCOMM_LIGHT_TESTS
constexpr int kRepetitions = 2;
#else
constexpr int kRepetitions = 16;
#endif

/// What a call is made of.
struct Case {
  std::vector<float> values;
  std::size_t offset;  ///< so many values from an aligned address
  CastOptions cast;

  const float* in() const { return values.data() + offset; }
  std::size_t count() const { return values.size() - offset; }
};

/// Any bits at all: subnormals, NaN, Inf, values that end in many zeros (ties), a narrow range.
float any_value(Random& random, std::uint32_t narrow) {
  std::uint32_t word = random();
  switch (random.below(6)) {
    case 0:
      break;
    case 1:
      word &= 0x807fffffu;
      break;
    case 2:
      word &= 0xfff00000u;
      break;
    case 3:
      word &= 0x80000000u;
      break;
    default:
      word = (word & 0x807fffffu) | (narrow + random.below(16)) << 23;
  }
  return value_of(word);
}

Case any_case(Format format, Random& random, int repetition) {
  Case made{{}, random.below(4), {}};
  made.values.resize(made.offset + random.below(2400));
  const std::uint32_t narrow = repetition % 2 == 0 ? 117 : random.below(230);
  // In every other case of a format with blocks nothing makes a block NaN.
  const bool finite = format.block() != 0 && repetition % 2 == 0;
  for (float& x : made.values) {
    x = any_value(random, narrow);
    if (finite && !std::isfinite(x)) x = 1.0f;
  }
  made.cast.saturate = random.below(2) == 1;
  if (format.is_float() && repetition % 3 != 0) {
    made.cast.shift = static_cast<int>(random.below(600)) - 300;
  }
  if (repetition % 4 == 3) {
    made.cast.stochastic =
        RandomStream{random(), random(), static_cast<std::uint16_t>(random()),
                     random(), random(), static_cast<std::uint64_t>(random()) * random.below(4)};
  }
  return made;
}

std::vector<Format> formats_under_test() {
  std::vector<Format> formats = all_formats();
  for (const char* name :
       {"e4m3fn", "e3m2fn",    "e2m3fn",     "e2m1fn",    "bfp2",      "bfp3:8",     "bfp4",
        "bfp8",   "bfp9:24",   "bfp12:4096", "bfp16",     "bfp5:2000", "bfp24:1024", "mxfp8e4m3",
        "mxint8", "mxfp8e5m2", "mxfp6e3m2",  "mxfp6e2m3", "mxfp4",     "int2",       "int3:65536",
        "int4",   "int7:8",    "int8",       "int12:40",  "int16",     "int24",      "sign",
        "sign:8", "sign:24",   "sign:2048"}) {
    formats.push_back(Format::parse(name));
  }
  return formats;
}

/// All but the plain one, which they are held against.
std::vector<std::string> vector_targets() {
  std::vector<std::string> all = codec::targets();
  all.pop_back();
  return all;
}

class Targets : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { codec::use_target(GetParam()); }
  void TearDown() override { codec::use_target(codec::targets().front()); }

  /// Calls `check(fast, plain, case)` for all formats and many cases.
  template <typename F>
  static void for_cases(F&& check) {
    Random random(7);
    for (const Format format : formats_under_test()) {
      SCOPED_TRACE(format.to_string());
      const Codec fast = codec::codec_for(format);
      const Codec plain = codec::plain_codec_for(format);
      for (int repetition = 0; repetition < kRepetitions; ++repetition) {
        check(fast, plain, any_case(format, random, repetition));
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
  }
};

/// Exactly as many bytes as a span takes, at an address of any alignment.
std::vector<std::byte> encoded(const Codec& codec, const Case& made) {
  const std::size_t size = codec.encoded_size(made.count());
  std::vector<std::byte> room(size + made.offset);
  codec.encode(made.in(), made.count(), made.cast, room.data() + made.offset);
  return {room.begin() + static_cast<std::ptrdiff_t>(made.offset), room.end()};
}

TEST_P(Targets, EncodeAndDecodeAlike) {
  for_cases([](const Codec& fast, const Codec& plain, const Case& made) {
    const std::vector<std::byte> bytes = encoded(fast, made);
    ASSERT_EQ(bytes, encoded(plain, made)) << made.count() << " values, shift " << made.cast.shift;
    std::vector<float> values(made.count());
    std::vector<float> wanted(made.count());
    fast.decode(bytes.data(), made.count(), values.data());
    plain.decode(bytes.data(), made.count(), wanted.data());
    ASSERT_TRUE(same_bits(values, wanted));
  });
}

TEST_P(Targets, RoundAlikeInPlaceToo) {
  for_cases([](const Codec& fast, const Codec& plain, const Case& made) {
    std::vector<float> values(made.count());
    std::vector<float> wanted(made.count());
    fast.round(made.in(), made.count(), made.cast, values.data());
    plain.round(made.in(), made.count(), made.cast, wanted.data());
    ASSERT_TRUE(same_bits(values, wanted)) << "shift " << made.cast.shift;
    values.assign(made.in(), made.in() + made.count());
    fast.round(values.data(), values.size(), made.cast, values.data());
    ASSERT_TRUE(same_bits(values, wanted));
  });
}

TEST_P(Targets, DecodeAnyBytesFromAnyPlace) {
  Random random(8);
  for_cases([&](const Codec& fast, const Codec& plain, const Case& made) {
    std::vector<std::byte> bytes(fast.encoded_size(made.count()));
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
    const std::size_t first =
        made.count() == 0 ? 0 : random.below(static_cast<std::uint32_t>(made.count())) / 8 * 8;
    const ConstPlace place{bytes.data(), made.count(), first};
    const std::size_t count = made.count() - first;
    std::vector<float> values(count);
    std::vector<float> wanted(count);
    fast.decode(place, count, values.data());
    plain.decode(place, count, wanted.data());
    ASSERT_TRUE(same_bits(values, wanted));
  });
}

/// The NaN of Inf - Inf is not the same on every machine.
std::vector<float> with_one_nan(std::vector<float> values) {
  for (float& x : values) {
    if (std::isnan(x)) x = value_of(0x7fc00000u);
  }
  return values;
}

TEST_P(Targets, AddAlike) {
  for_cases([](const Codec& fast, const Codec& plain, const Case& made) {
    const std::vector<std::byte> bytes = encoded(plain, made);
    std::vector<float> sum(made.count(), 1.5f);
    std::vector<float> wanted(made.count(), 1.5f);
    const ConstPlace place{bytes.data(), made.count(), 0};
    fast.decode_add(place, made.count(), sum.data());
    plain.decode_add(place, made.count(), wanted.data());
    ASSERT_TRUE(same_bits(with_one_nan(sum), with_one_nan(wanted)));
  });
}

TEST_P(Targets, EncodeInPiecesWhatTheyEncodeAtOnce) {
  Random random(9);
  for_cases([&](const Codec& fast, const Codec& plain, Case made) {
    const std::vector<std::byte> wanted = encoded(plain, made);
    std::vector<std::byte> bytes(wanted.size());
    const std::size_t step = fast.alignment() * (1 + random.below(3));
    const CastOptions whole = made.cast;
    for (std::size_t first = 0; first < made.count(); first += step) {
      const std::size_t size = std::min(step, made.count() - first);
      if (whole.stochastic) made.cast.stochastic->first = whole.stochastic->first + first;
      fast.encode(made.in() + first, size, made.cast, Place{bytes.data(), made.count(), first});
    }
    ASSERT_EQ(bytes, wanted) << made.count() << " values in pieces of " << step;
  });
}

TEST_P(Targets, RoundAlikeOnScalesThatAreGiven) {
  for_cases([](const Codec& fast, const Codec& plain, const Case& made) {
    if (fast.layout().block == 0) return;
    std::vector<float> finite(made.in(), made.in() + made.count());
    for (float& x : finite) {
      if (!std::isfinite(x)) x = 3.0f;
    }
    for (const float scale : {0x1p-5f, 1.0f, 0x1p-149f, 0x1p127f, value_of(0x7fc00000u)}) {
      if (fast.format().kind() == Format::Kind::mx && scale < 0x1p-127f) continue;
      std::vector<float> values(finite.size());
      std::vector<float> wanted(finite.size());
      fast.round_on(finite.data(), finite.size(), scale, made.cast, values.data());
      plain.round_on(finite.data(), finite.size(), scale, made.cast, wanted.data());
      ASSERT_TRUE(same_bits(values, wanted)) << "scale " << scale;
    }
  });
}

#ifndef CPDCOMM_LIGHT_TESTS
// Above some size results are written past the caches, at aligned addresses.
TEST_P(Targets, DoAlikeWithMoreThanTheCachesHold) {
  constexpr std::size_t kMany = (std::size_t{1} << 23) + 37;
  Random random(11);
  std::vector<float> values(kMany);
  for (float& x : values) x = any_value(random, 110);
  for (const char* name : {"e4m3", "e5m5", "bfp8", "int4", "mxfp4"}) {
    SCOPED_TRACE(name);
    const Codec fast = codec::codec_for(Format::parse(name));
    const Codec plain = codec::plain_codec_for(Format::parse(name));
    std::vector<std::byte> wanted(plain.encoded_size(kMany));
    plain.encode(values.data(), kMany, {}, wanted.data());
    std::vector<float> rounded(kMany);
    plain.decode(wanted.data(), kMany, rounded.data());

    const auto bytes = hwy::AllocateAligned<std::byte>(wanted.size());
    const auto got = hwy::AllocateAligned<float>(kMany);
    fast.encode(values.data(), kMany, {}, bytes.get());
    EXPECT_EQ(std::memcmp(bytes.get(), wanted.data(), wanted.size()), 0);
    fast.decode(bytes.get(), kMany, got.get());
    EXPECT_TRUE(same_bits({got.get(), kMany}, rounded));
    std::memset(got.get(), 0, kMany * sizeof(float));
    fast.round(values.data(), kMany, {}, got.get());
    EXPECT_TRUE(same_bits({got.get(), kMany}, rounded));
  }
}
#endif

TEST_P(Targets, AddScaleAndFinishAlike) {
  Random random(12);
  for (int repetition = 0; repetition < 300; ++repetition) {
    const std::size_t count = random.below(100);
    std::vector<float> values(count);
    std::vector<float> more(count);
    for (float& x : values) x = any_value(random, 110);
    for (float& x : more) x = any_value(random, 110);
    const int shift = static_cast<int>(random.below(repetition % 2 == 0 ? 40 : 600)) - 20;
    const float divisor = repetition % 3 == 0 ? 1.0f : static_cast<float>(1 + random.below(9));

    std::vector<float> got = values;
    std::vector<float> wanted = values;
    codec::add(got.data(), more.data(), count);
    codec::plain::add(wanted.data(), more.data(), count);
    EXPECT_TRUE(same_bits(with_one_nan(got), with_one_nan(wanted)));
    codec::scale(values.data(), count, shift, got.data());
    codec::plain::scale(values.data(), count, shift, wanted.data());
    EXPECT_TRUE(same_bits(with_one_nan(got), with_one_nan(wanted))) << shift;
    EXPECT_EQ(codec::finish(values.data(), count, -shift, divisor, got.data()),
              codec::plain::finish(values.data(), count, -shift, divisor, wanted.data()));
    EXPECT_TRUE(same_bits(got, wanted)) << shift << " " << divisor;
    got = wanted = more;
    EXPECT_EQ(codec::finish(got.data(), count, -shift, divisor, got.data()),
              codec::plain::finish(wanted.data(), count, -shift, divisor, wanted.data()));
    EXPECT_TRUE(same_bits(got, wanted)) << shift << " " << divisor;
    got = wanted = values;
    codec::cast_error(values.data(), more.data(), count, shift, got.data());
    codec::plain::cast_error(values.data(), more.data(), count, shift, wanted.data());
    EXPECT_TRUE(same_bits(got, wanted)) << shift;
  }
}

TEST_P(Targets, DrawTheSameWords) {
  Random random(13);
  for (std::size_t count = 0; count < 3000; count += 1 + random.below(300)) {
    RandomStream stream{random(), random(), 9, random(), random(), random()};
    if (count % 2 == 0) stream.first += 0x3fffffff0;  // the counter's lower half passes its end
    std::vector<std::uint32_t> words(count);
    std::vector<std::uint32_t> wanted(count);
    codec::random_words(stream, count, words.data());
    codec::plain::random_words(stream, count, wanted.data());
    EXPECT_EQ(words, wanted) << count << " from " << stream.first;
  }
}

TEST_P(Targets, FindTheLargest) {
  Random random(10);
  for (std::size_t count = 0; count < 200; ++count) {
    std::vector<float> values(count);
    for (float& x : values) x = value_of(random());
    EXPECT_EQ(codec::largest_bits(values.data(), count),
              codec::plain::largest_bits(values.data(), count));
  }
}

INSTANTIATE_TEST_SUITE_P(Of, Targets, ::testing::ValuesIn(vector_targets()),
                         [](const auto& test) { return test.param; });

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Targets);

TEST(TargetNames, EndWithPlain) { EXPECT_EQ(codec::targets().back(), "plain"); }

TEST(TargetNames, OfAnotherNameAreRefused) { EXPECT_THROW(codec::use_target("avx1024"), Error); }

}  // namespace
}  // namespace cpdcomm::testing
