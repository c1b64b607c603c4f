// What a block's scale comes from, per target.
#if defined(CPDCOMM_CODEC_SIMD_LARGEST_INL_HPP) == defined(HWY_TARGET_TOGGLE)
#ifdef CPDCOMM_CODEC_SIMD_LARGEST_INL_HPP
#undef CPDCOMM_CODEC_SIMD_LARGEST_INL_HPP
#else
#define CPDCOMM_CODEC_SIMD_LARGEST_INL_HPP
#endif

#include <hwy/highway.h>

#include <algorithm>

#include "codec/simd/floats-inl.hpp"
#include "numerics/mean_magnitude.hpp"

#if !CPDCOMM_PLAIN_TARGET
HWY_BEFORE_NAMESPACE();
namespace cpdcomm::codec::simd::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

HWY_INLINE std::uint32_t largest_lane(VU v) {
#if HWY_TARGET <= HWY_AVX3
  return _mm512_reduce_max_epu32(v.raw);  // narrows, where MaxOfLanes keeps to whole vectors
#else
  return hn::GetLane(hn::MaxOfLanes(U(), v));
#endif
}

/// The FP32 bits of the largest magnitude; Inf and NaN compare above all.
HWY_INLINE std::uint32_t largest_magnitude(const float* in, std::size_t count) {
  const std::size_t lanes = hn::Lanes(F());
  VU first = hn::Zero(U());
  VU second = hn::Zero(U());
  std::size_t i = 0;
  for (; i + 2 * lanes <= count; i += 2 * lanes) {
    first = hn::Max(first, magnitude_of(bits_of(hn::LoadU(F(), in + i))));
    second = hn::Max(second, magnitude_of(bits_of(hn::LoadU(F(), in + i + lanes))));
  }
  std::uint32_t largest = largest_lane(hn::Max(first, second));
  for (; i < count; ++i) {
    largest = std::max(largest, numerics::bits_of(in[i]) & 0x7fffffffu);
  }
  return largest;
}

/// The mean magnitude, in the order of numerics::MeanMagnitude.
HWY_INLINE float mean_magnitude(const float* in, std::size_t count) {
  constexpr std::size_t kLanes = numerics::MeanMagnitude::kLanes;
  const hn::CappedTag<double, kLanes> d64;
  const hn::Rebind<float, decltype(d64)> d32;
  constexpr std::size_t kVectors = kLanes / hn::MaxLanes(d64);
  hn::Vec<decltype(d64)> sums[kVectors];
  for (std::size_t k = 0; k < kVectors; ++k) sums[k] = hn::Zero(d64);
  std::size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
#pragma GCC unroll 8
    for (std::size_t k = 0; k < kVectors; ++k) {
      const auto values = hn::Abs(hn::LoadU(d32, in + i + k * hn::MaxLanes(d64)));
      sums[k] = hn::Add(sums[k], hn::PromoteTo(d64, values));
    }
  }
  alignas(64) double lanes[kLanes];
  for (std::size_t k = 0; k < kVectors; ++k) {
    hn::Store(sums[k], d64, lanes + k * hn::MaxLanes(d64));
  }
  for (std::size_t lane = 0; i < count; ++i, ++lane) {
    lanes[lane] += static_cast<double>(numerics::float_of(numerics::bits_of(in[i]) & 0x7fffffffu));
  }
  return numerics::MeanMagnitude::of(lanes, count);
}

}  // namespace cpdcomm::codec::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();
#endif

#endif
