// Compiled, not run: the numerics are device code, too.
#include "numerics/cast.hpp"
#include "numerics/scale_exponent.hpp"

namespace cpdcomm::testing {

__global__ void cast_device(const float* in, std::uint32_t* codes, float* out, int count, int shift,
                            int exp_bits, int man_bits, bool saturate) {
  const auto i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= count) return;
  const numerics::FloatLayout layout(exp_bits, man_bits);
  codes[i] = numerics::encode_value(in[i], shift, layout, saturate);
  out[i] = numerics::scale_value(numerics::decode_value(codes[i], layout), -shift);
}

__global__ void shift_device(const std::uint32_t* largest, std::uint64_t world, int emax,
                             int* shifts, int count) {
  const auto i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) shifts[i] = numerics::shift_for(numerics::scale_exponent(largest[i], world), emax);
}

}  // namespace cpdcomm::testing
