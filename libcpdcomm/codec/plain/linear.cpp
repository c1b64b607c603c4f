// intK: integers on an FP32 scale that a block shares.
#include "numerics/linear.hpp"
#include "codec/plain/blocks.hpp"

namespace cpdcomm::codec::plain {
namespace {

struct Linear {
  using Stored = float;

  static Stored scale(const Layout& layout, const float* in, std::size_t count) {
    return numerics::linear_scale(largest_bits(in, count), layout.bits - 1);
  }
  static float step(const Layout& /*layout*/, Stored scale) { return scale; }
  template <typename Rounding>
  static std::uint32_t code(const Layout& layout, float x, float step, Rounding rounding) {
    return to_code(numerics::linear_encode(x, step, layout.bits - 1, rounding), layout.bits);
  }
  static float value(const Layout& layout, std::uint32_t code, float step) {
    return numerics::linear_decode(from_code(code, layout.bits), step);
  }
};

}  // namespace

const Kernels kLinear = Blocks<Linear>::kernels;

}  // namespace cpdcomm::codec::plain
