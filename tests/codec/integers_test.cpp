// Packed integers: the same for every instruction set, and what the layout says.
#include "codec/integers.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "codec/layout.hpp"
#include "codec/targets.hpp"
#include "support/random.hpp"

namespace cpdcomm::testing {
namespace {

using Bytes = std::vector<std::byte>;
using Integers = std::vector<std::int32_t>;

constexpr int kWidest = 29;

/// Any integers of a width, its ends among them.
Integers any_integers(Random& random, std::size_t count, int width) {
  Integers integers(count);
  for (std::int32_t& integer : integers) {
    std::uint32_t bits = random();
    if (random.below(8) == 0) bits = 0x7fffffffu;
    if (random.below(8) == 0) bits = 0x80000000u;
    integer = static_cast<std::int32_t>(bits) >> (32 - width);
  }
  return integers;
}

/// Bit by bit.
Bytes expected_bytes(const Integers& integers, int width) {
  const auto bits = static_cast<std::size_t>(width);
  Bytes bytes((integers.size() * bits + 7) / 8);
  for (std::size_t at = 0; at < integers.size() * bits; ++at) {
    const auto bit = static_cast<std::uint32_t>(integers[at / bits]) >> (at % bits) & 1u;
    bytes[at / 8] |= static_cast<std::byte>(bit << (at % 8));
  }
  return bytes;
}

std::vector<std::size_t> lengths() {
  std::vector<std::size_t> all(70);
  std::iota(all.begin(), all.end(), 0);
  all.insert(all.end(), {127, 128, 1000, 1023, 1024, 1025, 1096, 3333});
  return all;
}

class PackedIntegers : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override { codec::use_target(GetParam()); }
  void TearDown() override { codec::use_target(codec::targets().front()); }

  /// Calls `check(integers, width)` for all widths and many lengths.
  template <typename F>
  static void for_cases(F&& check) {
    Random random(3);
    for (int width = 1; width <= kWidest; ++width) {
      for (const std::size_t count : lengths()) {
        SCOPED_TRACE(::testing::Message() << count << " of " << width << " bits");
        check(any_integers(random, count, width), width);
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
  }
};

TEST_P(PackedIntegers, LieOneAfterTheOther) {
  for_cases([](const Integers& integers, int width) {
    Bytes bytes(codec::packed_bytes(integers.size(), width));
    codec::pack_integers(integers.data(), integers.size(), width, bytes.data());
    ASSERT_EQ(bytes, expected_bytes(integers, width));
  });
}

TEST_P(PackedIntegers, LoseTheBitsAboveTheirWidth) {
  for_cases([](const Integers& integers, int width) {
    Integers wide = integers;
    for (std::int32_t& integer : wide) integer ^= 1 << width;
    Bytes bytes(codec::packed_bytes(wide.size(), width));
    codec::pack_integers(wide.data(), wide.size(), width, bytes.data());
    ASSERT_EQ(bytes, expected_bytes(integers, width));
  });
}

TEST_P(PackedIntegers, ComeBackWithTheirSigns) {
  for_cases([](const Integers& integers, int width) {
    const Bytes bytes = expected_bytes(integers, width);
    Integers back(integers.size(), 77);
    codec::unpack_integers(bytes.data(), integers.size(), width, back.data());
    ASSERT_EQ(back, integers);
  });
}

TEST_P(PackedIntegers, AreAdded) {
  for_cases([](const Integers& integers, int width) {
    const Bytes bytes = expected_bytes(integers, width);
    Integers sums(integers.size());
    std::iota(sums.begin(), sums.end(), -50);
    Integers wanted = sums;
    for (std::size_t i = 0; i < wanted.size(); ++i) wanted[i] += integers[i];
    codec::add_packed_integers(bytes.data(), sums.size(), width, sums.data());
    ASSERT_EQ(sums, wanted);
  });
}

INSTANTIATE_TEST_SUITE_P(Of, PackedIntegers, ::testing::ValuesIn(codec::targets()),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace cpdcomm::testing
