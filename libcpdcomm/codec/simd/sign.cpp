// sign, for every instruction set.
#include "codec/simd/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/simd/sign.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "codec/simd/blocks-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace cpdcomm::codec::simd::HWY_NAMESPACE {

#if CPDCOMM_PLAIN_TARGET

const Kernels& sign_kernels() { return plain::kSign; }

#else

const Kernels& sign_kernels() { return kKernels<Signs>; }

#endif

}  // namespace cpdcomm::codec::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cpdcomm::codec::simd {

HWY_EXPORT(sign_kernels);
const Kernels& sign_kernels() { return HWY_DYNAMIC_DISPATCH(sign_kernels)(); }

}  // namespace cpdcomm::codec::simd
#endif
