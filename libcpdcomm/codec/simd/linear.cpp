// intK, for every instruction set.
#include "codec/simd/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/simd/linear.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "codec/simd/blocks-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace cpdcomm::codec::simd::HWY_NAMESPACE {

#if CPDCOMM_PLAIN_TARGET

const Kernels& linear_kernels() { return plain::kLinear; }

#else

const Kernels& linear_kernels() { return kKernels<LinearIntegers>; }

#endif

}  // namespace cpdcomm::codec::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cpdcomm::codec::simd {

HWY_EXPORT(linear_kernels);
const Kernels& linear_kernels() { return HWY_DYNAMIC_DISPATCH(linear_kernels)(); }

}  // namespace cpdcomm::codec::simd
#endif
