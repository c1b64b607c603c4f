#include "cpdcomm/codec.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "cpdcomm/error.hpp"
#include "support/bits.hpp"
#include "support/patterns.hpp"
#include "support/random.hpp"
#include "support/reference_cast.hpp"

namespace cpdcomm::testing {
namespace {

constexpr auto kGuard = std::byte{0xa5};
constexpr std::size_t kGuards = 16;

/// Memory with guard bytes on both sides, at an odd address on request.
class Guarded {
 public:
  Guarded(std::size_t size, std::size_t offset)
      : memory_(size + offset + 2 * kGuards, kGuard), first_(kGuards + offset), size_(size) {}

  std::span<std::byte> bytes() { return {memory_.data() + first_, size_}; }
  bool intact() const {
    const auto is_guard = [](std::byte b) { return b == kGuard; };
    const auto first = memory_.begin() + static_cast<std::ptrdiff_t>(first_);
    return std::all_of(memory_.begin(), first, is_guard) &&
           std::all_of(first + static_cast<std::ptrdiff_t>(size_), memory_.end(), is_guard);
  }

 private:
  std::vector<std::byte> memory_;
  std::size_t first_;
  std::size_t size_;
};

/// The packed layout, bit by bit: value i in bits i*b to (i+1)*b-1, least significant first.
std::vector<std::byte> packed(const std::vector<float>& values, Format format) {
  const auto width = static_cast<std::size_t>(format.code_bits());
  std::vector<std::byte> bytes((values.size() * width + 7) / 8);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint32_t code = format.is_fp32() ? bits(values[i])  // NaN payloads included
                                                : reference_encode(values[i], format);
    for (std::size_t k = 0; k < width; ++k) {
      const std::size_t at = i * width + k;
      bytes[at / 8] |= static_cast<std::byte>(((code >> k) & 1u) << (at % 8));
    }
  }
  return bytes;
}

/// Values with every kind of code, NaN and Inf among them.
std::vector<float> values_for(Format format, std::size_t count) {
  std::vector<float> values = cast_patterns(format, 0, static_cast<unsigned>(count));
  values.resize(count);
  return values;
}

std::vector<float> cast_all(const std::vector<float>& values, Format format) {
  std::vector<float> cast;
  for (const float x : values) cast.push_back(reference_cast(x, format));
  return cast;
}

/// All formats with so many exponent bits, and with them all widths.
class Codec : public ::testing::TestWithParam<int> {
 protected:
  template <typename F>
  void for_formats(F&& work) {
    for (int man_bits = 0; man_bits <= 23; ++man_bits) {
      format_ = Format::floating(GetParam(), man_bits);
      SCOPED_TRACE(format_.to_string());
      work();
    }
  }

  void expect_packed(std::size_t count, std::size_t offset) const {
    const std::vector<float> values = values_for(format_, count);
    const std::vector<std::byte> wanted = packed(values, format_);
    ASSERT_EQ(encoded_size(format_, count), wanted.size());
    Guarded room(wanted.size(), offset);
    encode(values, format_, room.bytes());
    ASSERT_TRUE(std::equal(wanted.begin(), wanted.end(), room.bytes().begin()))
        << count << " values at offset " << offset;
    ASSERT_TRUE(room.intact()) << count << " values at offset " << offset;
    expect_decoded(wanted, cast_all(values, format_));
  }

  /// `bytes` is of the exact size, so that a sanitizer sees a read past the end.
  void expect_decoded(const std::vector<std::byte>& bytes, const std::vector<float>& wanted) const {
    std::vector<float> room(wanted.size() + 2, -123.0f);
    decode(bytes, format_, std::span(room).first(wanted.size()));
    ASSERT_TRUE(same_bits(std::span(room).first(wanted.size()), wanted));
    ASSERT_EQ(room[wanted.size()], -123.0f);
  }

  Format format_;
};

TEST_P(Codec, PacksBitByBitWithAnyTail) {
  for_formats([&] {
    for (std::size_t count = 0; count <= 17; ++count) expect_packed(count, 0);
    expect_packed(1000, 0);
  });
}

TEST_P(Codec, WritesToUnalignedMemory) {
  for_formats([&] {
    for (std::size_t offset = 1; offset < 8; ++offset) {
      expect_packed(5, offset);
      expect_packed(32, offset);
    }
  });
}

TEST_P(Codec, QuantizesWithoutPackingInPlaceToo) {
  for_formats([&] {
    std::vector<float> values = values_for(format_, 333);
    const std::vector<float> wanted = cast_all(values, format_);
    std::vector<float> out(values.size());
    quantize(values, format_, out);
    EXPECT_TRUE(same_bits(out, wanted));
    quantize(values, format_, values);
    EXPECT_TRUE(same_bits(values, wanted));
  });
}

TEST_P(Codec, ShiftsAndSaturates) {
  for_formats([&] {
    const std::vector<float> values = values_for(format_, 100);
    for (const int shift : {-150, -3, 5, 140}) {
      std::vector<float> wanted;
      for (const float x : values) wanted.push_back(reference_cast(x, format_, shift, true));
      std::vector<float> out(values.size());
      quantize(values, format_, out, {.shift = shift, .saturate = true});
      EXPECT_TRUE(same_bits(out, wanted));
      std::vector<std::byte> bytes(encoded_size(format_, values.size()));
      encode(values, format_, bytes, {.shift = shift, .saturate = true});
      decode(bytes, format_, out);
      EXPECT_TRUE(same_bits(out, wanted));
    }
  });
}

TEST_P(Codec, TakesAnyShift) {
  for_formats([&] {
    const std::vector<float> values{1.5f, 0.0f, 0x1p-149f};
    std::vector<float> out(values.size());
    quantize(values, format_, out, {.shift = std::numeric_limits<int>::max()});
    EXPECT_TRUE(same_bits(out, std::vector{HUGE_VALF, 0.0f, HUGE_VALF}));
    quantize(values, format_, out, {.shift = std::numeric_limits<int>::min()});
    EXPECT_TRUE(same_bits(out, std::vector{0.0f, 0.0f, 0.0f}));
  });
}

TEST_P(Codec, ReadsAnyBytes) {
  for_formats([&] {
    Random random(5);
    std::vector<std::byte> bytes(encoded_size(format_, 64));
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random.below(256));
    std::vector<float> values(64);
    decode(bytes, format_, values);
    const std::vector<float> once = values;
    quantize(once, format_, values);
    EXPECT_TRUE(same_bits(values, once));
  });
}

TEST_P(Codec, RefusesBytesOfAnotherSize) {
  for_formats([&] {
    std::vector<float> values(9, 1.0f);
    const std::size_t size = encoded_size(format_, values.size());
    for (const std::size_t wrong : {std::size_t{0}, size - 1, size + 1}) {
      std::vector<std::byte> bytes(wrong);
      EXPECT_THROW(encode(values, format_, bytes), Error);
      EXPECT_THROW(decode(bytes, format_, values), Error);
    }
    std::vector<float> fewer(8);
    EXPECT_THROW(quantize(values, format_, fewer), Error);
  });
}

INSTANTIATE_TEST_SUITE_P(ExponentBits, Codec, ::testing::Range(1, 9),
                         ::testing::PrintToStringParamName());

TEST(EncodedSize, IsExactForCountsThatCouldOverflow) {
  const std::size_t many = std::size_t{1} << 60;
  EXPECT_EQ(encoded_size(Format::parse("e3m0"), many), many / 2);
  EXPECT_EQ(encoded_size(Format::parse("e5m5"), many + 1), many / 8 * 11 + 2);
}

TEST(Fp32, KeepsEveryBit) {
  const std::vector<float> values{value_of(0x7f800001u), value_of(0xffc12345u), -0.0f,
                                  value_of(0x80000001u)};
  std::vector<float> out(values.size());
  std::vector<std::byte> bytes(16);
  encode(values, Format(), bytes);
  decode(bytes, Format(), out);
  EXPECT_TRUE(same_bits(out, values));
}

}  // namespace
}  // namespace cpdcomm::testing
