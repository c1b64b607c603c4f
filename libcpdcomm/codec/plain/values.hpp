#pragma once

#include <algorithm>
#include <array>

#include "codec/kernels.hpp"
#include "numerics/random_word.hpp"
#include "numerics/rounding.hpp"

// What the plain families share.
namespace cpdcomm::codec::plain {

/// Calls `work` with the rounding of value i of a call.
template <typename F>
auto with_rounding(const CastOptions& cast, std::size_t i, F&& work) {
  if (!cast.stochastic) return work(numerics::NearestEven{});
  return work(numerics::Stochastic{numerics::random_word(*cast.stochastic, i)});
}

/// The code of value i of a call in a float format.
inline std::uint32_t float_code(const Layout& layout, float x, const CastOptions& cast,
                                std::size_t i) {
  return with_rounding(cast, i, [&](auto rounding) {
    return numerics::encode_value(x, cast.shift, layout.floats, cast.saturate, rounding);
  });
}

/// decode_add by way of decode.
template <void (*decode)(const Layout&, ConstPlace, std::size_t, float*)>
void decode_add(const Layout& layout, ConstPlace in, std::size_t count, float* sum) {
  std::array<float, 256> values;
  for (std::size_t first = 0; first < count; first += values.size()) {
    const std::size_t size = std::min(values.size(), count - first);
    decode(layout, in + first, size, values.data());
    for (std::size_t i = 0; i < size; ++i) sum[first + i] += values[i];
  }
}

}  // namespace cpdcomm::codec::plain
