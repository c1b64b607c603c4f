// Passes over values that know no format, for every instruction set.
#include "codec/simd/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/simd/arrays.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "codec/kernels.hpp"
#include "codec/simd/largest-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace cpdcomm::codec::simd::HWY_NAMESPACE {

std::uint32_t largest_bits(const float* in, std::size_t count) {
#if CPDCOMM_PLAIN_TARGET
  return plain::largest_bits(in, count);
#else
  return largest_magnitude(in, count);
#endif
}

}  // namespace cpdcomm::codec::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cpdcomm::codec::simd {

HWY_EXPORT(largest_bits);
std::uint32_t largest_bits(const float* in, std::size_t count) {
  return HWY_DYNAMIC_DISPATCH(largest_bits)(in, count);
}

}  // namespace cpdcomm::codec::simd
#endif
