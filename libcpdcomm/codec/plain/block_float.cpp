// bfpK: integers on an exponent that a block shares.
#include "codec/plain/blocks.hpp"
#include "numerics/shared_exponent.hpp"

namespace cpdcomm::codec::plain {
namespace {

struct BlockFloat {
  using Stored = std::uint8_t;

  static Stored scale(const Layout& /*layout*/, const float* in, std::size_t count) {
    return static_cast<Stored>(numerics::bfp_exponent(largest_bits(in, count)));
  }
  static float step(const Layout& layout, Stored scale) {
    return numerics::bfp_step(scale, layout.bits - 1);
  }
  template <typename Rounding>
  static std::uint32_t code(const Layout& layout, float x, float step, Rounding rounding) {
    const int exponent = numerics::exponent_of(step);
    return to_code(numerics::round_to_integer(x, exponent, layout.most, rounding), layout.bits);
  }
  static float value(const Layout& layout, std::uint32_t code, float step) {
    return numerics::scaled_integer(from_code(code, layout.bits), numerics::exponent_of(step));
  }
};

}  // namespace

const Kernels kBlockFloat = Blocks<BlockFloat>::kernels;

}  // namespace cpdcomm::codec::plain
