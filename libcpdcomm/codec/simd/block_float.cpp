// bfpK, for every instruction set.
#include "codec/simd/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/simd/block_float.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "codec/simd/blocks-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace cpdcomm::codec::simd::HWY_NAMESPACE {

#if CPDCOMM_PLAIN_TARGET

const Kernels& block_float_kernels() { return plain::kBlockFloat; }

#else

const Kernels& block_float_kernels() { return kKernels<SharedExponentIntegers>; }

#endif

}  // namespace cpdcomm::codec::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cpdcomm::codec::simd {

HWY_EXPORT(block_float_kernels);
const Kernels& block_float_kernels() { return HWY_DYNAMIC_DISPATCH(block_float_kernels)(); }

}  // namespace cpdcomm::codec::simd
#endif
