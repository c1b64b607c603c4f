// Compiled, not run: the numerics are device code, too.
#include "numerics/cast.hpp"
#include "numerics/exact.hpp"
#include "numerics/linear.hpp"
#include "numerics/mean_magnitude.hpp"
#include "numerics/random_word.hpp"
#include "numerics/scale_exponent.hpp"
#include "numerics/shared_exponent.hpp"

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

__global__ void stochastic_device(const float* in, std::uint32_t* codes, int count,
                                  RandomStream stream) {
  const auto i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= count) return;
  const numerics::Stochastic rounding{numerics::random_word(stream, static_cast<std::uint64_t>(i))};
  codes[i] = numerics::encode_value(in[i], 0, numerics::FloatLayout::finite(4, 3), true, rounding);
}

__global__ void blocks_device(const float* in, float* out, std::uint32_t largest, int man_bits) {
  const auto i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  const float step = numerics::bfp_step(numerics::bfp_exponent(largest), man_bits);
  const int exponent = numerics::exponent_of(step);
  const std::int32_t most = numerics::largest_integer(man_bits);
  const numerics::NearestEven rounding;
  const std::int32_t shared = numerics::round_to_integer(in[i], exponent, most, rounding);
  const float scale = numerics::linear_scale(largest, man_bits);
  const std::int32_t linear = numerics::linear_encode(in[i], scale, man_bits, rounding);
  const float element = numerics::mx_scale(numerics::mx_exponent(largest, 8));
  numerics::MeanMagnitude mean;
  mean.add(in[i]);
  out[i] = numerics::scaled_integer(shared, exponent) + numerics::linear_decode(linear, scale) +
           element + mean.mean();
}

}  // namespace cpdcomm::testing
