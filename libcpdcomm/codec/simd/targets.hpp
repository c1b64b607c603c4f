// Which instruction sets get vector kernels: to be included before Highway.
#pragma once

// AVX-512 with VBMI, AVX-512, AVX2, SSE4; a machine with less runs the plain kernels.
#define HWY_WANT_AVX3_DL
#define HWY_DISABLED_TARGETS HWY_SSSE3

// Whether the target that is being compiled has no vectors.
#define CPDCOMM_PLAIN_TARGET (HWY_TARGET == HWY_SCALAR || HWY_TARGET == HWY_EMU128)
