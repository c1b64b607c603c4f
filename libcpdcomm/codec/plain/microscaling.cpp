// The OCP microscaling formats: floats or int8 on a power of two that a block shares.
#include "codec/plain/blocks.hpp"
#include "numerics/shared_exponent.hpp"

namespace cpdcomm::codec::plain {
namespace {

struct Microscaling {
  using Stored = std::uint8_t;

  static bool is_integer(const Layout& layout) { return layout.format.exp_bits() == 0; }
  static int integer_exponent(float scale) {
    return numerics::exponent_of(scale) - numerics::kMxIntFraction;
  }

  static Stored scale(const Layout& layout, const float* in, std::size_t count) {
    return static_cast<Stored>(numerics::mx_exponent(largest_bits(in, count), layout.mx_emax()));
  }
  static float step(const Layout& /*layout*/, Stored scale) { return numerics::mx_scale(scale); }
  template <typename Rounding>
  static std::uint32_t code(const Layout& layout, float x, float scale, Rounding rounding) {
    if (is_integer(layout)) {
      return to_code(numerics::round_to_integer(x, integer_exponent(scale), layout.most, rounding),
                     layout.bits);
    }
    return numerics::encode_value(x, -numerics::exponent_of(scale), layout.floats, true, rounding);
  }
  static float value(const Layout& layout, std::uint32_t code, float scale) {
    if (is_integer(layout)) {
      return numerics::scaled_integer(from_code(code, layout.bits), integer_exponent(scale));
    }
    return numerics::scale_value(numerics::decode_value(code, layout.floats),
                                 numerics::exponent_of(scale));
  }
};

}  // namespace

const Kernels kMicroscaling = Blocks<Microscaling>::kernels;

}  // namespace cpdcomm::codec::plain
