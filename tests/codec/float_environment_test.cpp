// Rounding mode and flush-to-zero of the caller change no bit of a public cast.
#include <gtest/gtest.h>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#include <cfenv>
#include <functional>

#include "cpdcomm/codec.hpp"
#include "cpdcomm/geometry.hpp"
#include "support/bits.hpp"
#include "support/patterns.hpp"

namespace cpdcomm::testing {
namespace {

void flush_subnormals() {
#if defined(__SSE__)
  _mm_setcsr(_mm_getcsr() | 0x8040u);  // FTZ and DAZ
#endif
}

/// What the public functions make of the same values, one after the other.
std::vector<float> results(Format format, const std::vector<float>& values) {
  std::vector<float> all(values.size());
  quantize(values, format, all);
  std::vector<std::byte> bytes(encoded_size(format, values.size()));
  encode(values, format, bytes, {.stochastic = RandomStream{.seed = 5}});
  std::vector<float> decoded(values.size());
  decode(bytes, format, decoded);
  all.insert(all.end(), decoded.begin(), decoded.end());
  if (format.block() == 0) return all;
  const std::size_t shape[] = {values.size()};
  quantize(values, shape, format, Geometry::tensor(), {}, decoded);
  all.insert(all.end(), decoded.begin(), decoded.end());
  return all;
}

void expect_unchanged(const std::function<void()>& environment) {
  for (const char* name : {"e4m3", "e8m7", "e8m3", "bfp8", "bfp24", "mxfp8e4m3", "mxint8", "int8",
                           "int24:8", "sign"}) {
    SCOPED_TRACE(name);
    const Format format = Format::parse(name);
    std::vector<float> values = gradients(2000, 3);
    for (std::size_t i = 0; i < values.size(); i += 2) {
      values[i] = value_of(0x00000100u + static_cast<std::uint32_t>(i) * 4177u);  // subnormals
    }
    const std::vector<float> wanted = results(format, values);
    std::fenv_t callers;
    std::fegetenv(&callers);
    environment();
    const std::vector<float> got = results(format, values);
    std::fesetenv(&callers);
    EXPECT_TRUE(same_bits(got, wanted));
  }
}

TEST(PublicCasts, DoNotSeeThatTheCallerFlushesSubnormals) { expect_unchanged(flush_subnormals); }

TEST(PublicCasts, DoNotSeeTheCallersRoundingMode) {
  for (const int mode : {FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO}) {
    expect_unchanged([&] { std::fesetround(mode); });
  }
}

}  // namespace
}  // namespace cpdcomm::testing
