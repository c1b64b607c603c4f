// The OCP microscaling formats, for every instruction set.
#include "codec/simd/targets.hpp"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "codec/simd/microscaling.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "codec/simd/blocks-inl.hpp"

HWY_BEFORE_NAMESPACE();
namespace cpdcomm::codec::simd::HWY_NAMESPACE {

#if CPDCOMM_PLAIN_TARGET

const Kernels& microscaling_kernels() { return plain::kMicroscaling; }

#else

namespace {

/// The elements of mx are floats or integers.
template <auto kFloats, auto kIntegers>
struct ByElement;
template <typename... Arguments, void (*kFloats)(const Layout&, Arguments...),
          void (*kIntegers)(const Layout&, Arguments...)>
struct ByElement<kFloats, kIntegers> {
  static void call(const Layout& layout, Arguments... arguments) {
    (layout.format.exp_bits() == 0 ? kIntegers : kFloats)(layout, arguments...);
  }
};

template <auto kMember>
constexpr auto kByElement =
    ByElement<kKernels<MicroscaledFloats>.*kMember, kKernels<MicroscaledIntegers>.*kMember>::call;

}  // namespace

const Kernels& microscaling_kernels() {
  static constexpr Kernels kernels{kByElement<&Kernels::encode>, kByElement<&Kernels::decode>,
                                   kByElement<&Kernels::decode_add>, kByElement<&Kernels::round>,
                                   kByElement<&Kernels::round_on>};
  return kernels;
}

#endif

}  // namespace cpdcomm::codec::simd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace cpdcomm::codec::simd {

HWY_EXPORT(microscaling_kernels);
const Kernels& microscaling_kernels() { return HWY_DYNAMIC_DISPATCH(microscaling_kernels)(); }

}  // namespace cpdcomm::codec::simd
#endif
