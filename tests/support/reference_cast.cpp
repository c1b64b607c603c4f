#include "support/reference_cast.hpp"

#include <bit>
#include <cmath>
#include <limits>

#include "support/bits.hpp"

namespace cpdcomm::testing {
namespace {

int length(std::uint64_t units) { return static_cast<int>(std::bit_width(units)); }

bool is_finite(Format format) { return format.kind() == Format::Kind::finite; }

std::uint32_t sign_code(Format format) { return 1u << (format.exp_bits() + format.man_bits()); }

std::uint32_t nan_code(Format format) {
  const std::uint32_t top = infinity_code(format);
  const bool one_nan = is_finite(format) || format.man_bits() == 0;
  return one_nan ? top : top + (1u << (format.man_bits() - 1));
}

/// The largest code, up to and including Inf's, whose value is at most `magnitude`.
std::uint32_t code_below(Exact magnitude, Format format) {
  std::uint32_t low = 0;
  std::uint32_t high = infinity_code(format);
  while (low < high) {
    const std::uint32_t middle = low + (high - low + 1) / 2;
    if (compare(exact_code(middle, format), magnitude) <= 0) {
      low = middle;
    } else {
      high = middle - 1;
    }
  }
  return low;
}

std::uint32_t nearest_code(Exact magnitude, Format format) {
  const std::uint32_t low = code_below(magnitude, format);
  if (low == infinity_code(format)) return low;
  const Exact value = exact_code(low, format);
  const int side = compare(magnitude, {2 * value.units + 1, value.exponent - 1});
  const bool up = side > 0 || (side == 0 && value.units % 2 == 1);
  return up ? low + 1 : low;
}

}  // namespace

int compare(Exact a, Exact b) {
  if (a.units == 0 || b.units == 0) return (a.units != 0) - (b.units != 0);
  const int top_a = length(a.units) + a.exponent;
  const int top_b = length(b.units) + b.exponent;
  if (top_a != top_b) return top_a < top_b ? -1 : 1;
  // The leading bits are in one place, so the shorter number can be brought to the longer's length.
  a.units <<= 63 - length(a.units);
  b.units <<= 63 - length(b.units);
  return (a.units > b.units) - (a.units < b.units);
}

Exact exact_magnitude(float x) {
  int exponent = 0;
  const double fraction = std::frexp(std::fabs(static_cast<double>(x)), &exponent);
  return {static_cast<std::uint64_t>(std::ldexp(fraction, 24)), exponent - 24};
}

std::uint32_t infinity_code(Format format) {
  if (is_finite(format)) {
    // OCP: e4m3fn keeps its top code for NaN, the others keep none.
    return sign_code(format) - (format.hides_non_finite() ? 0u : 1u);
  }
  const std::uint32_t binades = (1u << format.exp_bits()) - 1u;
  return binades * (1u << format.man_bits());
}

Exact exact_code(std::uint32_t magnitude_code, Format format) {
  const std::uint32_t per_binade = 1u << format.man_bits();
  const std::uint32_t field = magnitude_code / per_binade;
  const std::uint32_t fraction = magnitude_code % per_binade;
  const int bias = (1 << (format.exp_bits() - 1)) - 1;
  if (field == 0) return {fraction, 1 - bias - format.man_bits()};
  return {per_binade + fraction, static_cast<int>(field) - bias - format.man_bits()};
}

std::uint32_t reference_encode(float x, Format format, int shift, bool saturate) {
  const std::uint32_t sign = std::signbit(x) ? sign_code(format) : 0u;
  if (!std::isfinite(x) && format.hides_non_finite()) return sign | (infinity_code(format) - 1);
  if (std::isnan(x) || (std::isinf(x) && is_finite(format))) return nan_code(format);
  if (std::isinf(x)) return sign | infinity_code(format);
  Exact magnitude = exact_magnitude(x);
  magnitude.exponent += shift;
  const std::uint32_t code = nearest_code(magnitude, format);
  if ((saturate || is_finite(format)) && code == infinity_code(format)) return sign | (code - 1);
  return sign | code;
}

float reference_decode(std::uint32_t code, Format format) {
  const std::uint32_t magnitude = code % sign_code(format);
  const bool is_nan =
      is_finite(format) ? magnitude == infinity_code(format) : magnitude > infinity_code(format);
  if (is_nan) return value_of(0x7fc00000u);
  const float sign = magnitude == code ? 1.0f : -1.0f;
  if (magnitude == infinity_code(format)) return sign * std::numeric_limits<float>::infinity();
  const Exact value = exact_code(magnitude, format);
  return sign * std::ldexp(static_cast<float>(value.units), value.exponent);
}

int top_exponent(Format format) {
  const int ieee = (1 << (format.exp_bits() - 1)) - 1;
  return format.kind() == Format::Kind::finite ? ieee + 1 : ieee;
}

float reference_cast(float x, Format format, int shift, bool saturate) {
  if (format.is_fp32() && shift == 0) return x;
  return reference_decode(reference_encode(x, format, shift, saturate), format);
}

int reference_exponent(float largest, std::uint64_t world) {
  const Exact one = exact_magnitude(largest);
  // At most 24 + 31 bits.
  const Exact all{one.units * world, one.exponent};
  int exponent = -200;
  while (compare(all, {1, exponent}) > 0) ++exponent;
  return exponent;
}

}  // namespace cpdcomm::testing
