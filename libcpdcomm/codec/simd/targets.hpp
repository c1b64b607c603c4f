// Which instruction sets get vector kernels: to be included before Highway.
#pragma once

// AVX-512 with VBMI, AVX-512, AVX2, SSE4; a machine with less runs the plain kernels.
#define HWY_WANT_AVX3_DL
#if defined(CPDCOMM_FEWER_TARGETS)  // where each takes minutes to compile: under sanitizers
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | CPDCOMM_FEWER_TARGETS)
#else
#define HWY_DISABLED_TARGETS HWY_SSSE3
#endif

// Whether the target that is being compiled has no vectors.
#define CPDCOMM_PLAIN_TARGET (HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128)
