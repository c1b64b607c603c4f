#include <algorithm>
#include <cmath>

#include "codec/exact_steps.hpp"
#include "codec/plain/values.hpp"
#include "numerics/exact.hpp"

namespace cpdcomm::codec::plain {
namespace {

std::int32_t integer(const Layout& layout, float x, float step,
                     const std::optional<RandomStream>& stochastic, std::size_t i) {
  if (std::isnan(step)) return 0;
  return with_rounding({.stochastic = stochastic}, i, [&](auto rounding) {
    if (layout.format.kind() == Format::Kind::integer) {
      return numerics::linear_encode(x, step, layout.bits - 1, rounding);
    }
    return numerics::round_to_integer(x, numerics::exponent_of(step), layout.most, rounding);
  });
}

}  // namespace

void exact_integers(const Layout& layout, const float* in, std::size_t count,
                    const std::uint32_t* words, const std::optional<RandomStream>& stochastic,
                    std::int32_t* out) {
  for (std::size_t first = 0; first < count; first += layout.block) {
    const float step = exact_step(layout, *words++);
    const std::size_t last = std::min(first + layout.block, count);
    for (std::size_t i = first; i < last; ++i) {
      out[i] = integer(layout, in[i], step, stochastic, i);
    }
  }
}

void exact_values(const Layout& layout, const std::int32_t* sums, std::size_t count,
                  const std::uint32_t* words, int up, float* out) {
  for (std::size_t first = 0; first < count; first += layout.block) {
    const double step = std::ldexp(static_cast<double>(exact_step(layout, *words++)), up);
    const std::size_t last = std::min(first + layout.block, count);
    for (std::size_t i = first; i < last; ++i) out[i] = numerics::sum_value(sums[i], step);
  }
}

void drop_bits(std::int32_t* sums, std::size_t count, int drop,
               const std::optional<RandomStream>& stochastic) {
  for (std::size_t i = 0; i < count; ++i) {
    sums[i] = with_rounding({.stochastic = stochastic}, i, [&](auto rounding) {
      return numerics::narrow_sum(sums[i], drop, rounding);
    });
  }
}

}  // namespace cpdcomm::codec::plain
