#include "codec/arrays.hpp"

#include <algorithm>
#include <cmath>

#include "numerics/cast.hpp"
#include "numerics/random_word.hpp"
#include "numerics/shared_exponent.hpp"

namespace cpdcomm::codec::plain {

std::uint32_t largest_bits(const float* in, std::size_t count) {
  std::uint32_t largest = 0;
  for (std::size_t i = 0; i < count; ++i) {
    largest = std::max(largest, numerics::bits_of(in[i]) & 0x7fffffffu);
  }
  return largest;
}

void add(float* sum, const float* part, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) sum[i] += part[i];
}

void scale(const float* in, std::size_t count, int shift, float* out) {
  // FP32 may have no such factor; in FP64 the product is exact.
  const double factor = std::ldexp(1.0, shift);
  for (std::size_t i = 0; i < count; ++i) {
    out[i] = static_cast<float>(static_cast<double>(in[i]) * factor);
  }
}

bool finish(const float* in, std::size_t count, int shift, float divisor, float* out) {
  scale(in, count, -shift, out);
  for (std::size_t i = 0; i < count; ++i) {
    const float value = out[i] / divisor;
    out[i] = std::isnan(value) ? numerics::float_of(numerics::kQuietNan) : value;
  }
  return largest_bits(out, count) >= numerics::kInfinity;
}

void cast_error(const float* values, const float* cast, std::size_t count, int shift,
                float* error) {
  const double factor = std::ldexp(1.0, -shift);
  for (std::size_t i = 0; i < count; ++i) {
    const float lost = values[i] - static_cast<float>(static_cast<double>(cast[i]) * factor);
    if (std::isfinite(lost)) error[i] = lost;
  }
}

void random_words(const RandomStream& stream, std::size_t count, std::uint32_t* out) {
  for (std::size_t i = 0; i < count; ++i) out[i] = numerics::random_word(stream, i);
}

}  // namespace cpdcomm::codec::plain
