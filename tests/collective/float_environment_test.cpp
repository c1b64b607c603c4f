// Rounding mode and flush-to-zero of the caller change no bit, and are theirs again afterwards.
#include <gtest/gtest.h>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

#include <cfenv>

#include "collective/sum_case.hpp"
#include "support/bits.hpp"
#include "support/formats.hpp"

namespace cpdcomm::testing {
namespace {

#if defined(__SSE__)
constexpr unsigned kFlush = 0x8040;  // FTZ and DAZ
void flush_subnormals() { _mm_setcsr(_mm_getcsr() | kFlush); }
bool flushes_subnormals() { return (_mm_getcsr() & kFlush) == kFlush; }
#else
void flush_subnormals() {}
bool flushes_subnormals() { return true; }
#endif

/// Values whose sums are subnormal or inexact.
std::vector<float> delicate(unsigned rank) {
  std::vector<float> values = gradients(2000, rank);
  for (std::size_t i = 0; i < values.size(); i += 2) {
    values[i] = value_of(0x00300000u + static_cast<std::uint32_t>(i) * 977u + rank);
  }
  return values;
}

PerRank<std::vector<float>> sums(Ranks& ranks, const AllreduceOptions& options,
                                 const std::function<void(Communicator&)>& before,
                                 const std::function<void()>& after) {
  PerRank<std::vector<float>> results(static_cast<std::size_t>(ranks.size()));
  ranks.run([&](Communicator& self) {
    auto& values = results[index_of(self)];
    values = delicate(static_cast<unsigned>(self.rank()));
    before(self);
    self.allreduce(values, options);
    after();
  });
  return results;
}

TEST(FloatEnvironment, OfTheCallerChangesNoBit) {
  Ranks ranks(3);
  for (const Format wire : awkward_formats()) {
    for (const auto accumulate : {Accumulate::wide, Accumulate::rounded, Accumulate::kahan}) {
      for (const auto algorithm : {Algorithm::direct, Algorithm::ring}) {
        const AllreduceOptions options{.op = ReduceOp::average,
                                       .wire = wire,
                                       .scaling = {Scaling::Kind::aps, 8},
                                       .accumulate = accumulate,
                                       .algorithm = algorithm};
        const auto wanted = sums(
            ranks, options, [](Communicator&) {}, [] {});
        const int modes[] = {FE_UPWARD, FE_TOWARDZERO, FE_TONEAREST};
        const auto got = sums(
            ranks, options,
            [&](Communicator& self) {
              std::fesetround(modes[self.rank()]);
              flush_subnormals();
            },
            [] { EXPECT_TRUE(flushes_subnormals()); });
        for (std::size_t rank = 0; rank < 3; ++rank) {
          ASSERT_TRUE(same_bits(got[rank], wanted[0])) << wire.to_string();
        }
      }
    }
  }
}

TEST(FloatEnvironment, IsTheCallersAgainAfterwards) {
  Ranks ranks(2);
  ranks.run([](Communicator& self) {
    std::fesetround(FE_DOWNWARD);
    flush_subnormals();
    std::feraiseexcept(FE_INEXACT);
    std::vector<float> values(10, 0.1f);
    self.allreduce(values);
    EXPECT_EQ(std::fegetround(), FE_DOWNWARD);
    EXPECT_TRUE(flushes_subnormals());
    EXPECT_TRUE(std::fetestexcept(FE_INEXACT));
    values.resize(self.rank() == 0 ? 10 : 9);
    EXPECT_THROW(self.allreduce(values), Error);  // and after an error
    EXPECT_EQ(std::fegetround(), FE_DOWNWARD);
    EXPECT_TRUE(flushes_subnormals());
  });
}

}  // namespace
}  // namespace cpdcomm::testing
