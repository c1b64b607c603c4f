// sign: the sign bit, and the mean magnitude of the block.
#include "codec/plain/blocks.hpp"
#include "numerics/mean_magnitude.hpp"

namespace cpdcomm::codec::plain {
namespace {

struct Sign {
  using Stored = float;

  static Stored scale(const Layout& /*layout*/, const float* in, std::size_t count) {
    numerics::MeanMagnitude magnitude;
    for (std::size_t i = 0; i < count; ++i) magnitude.add(in[i]);
    return magnitude.mean();
  }
  static float step(const Layout& /*layout*/, Stored scale) { return scale; }
  template <typename Rounding>
  static std::uint32_t code(const Layout& /*layout*/, float x, float /*step*/,
                            Rounding /*rounding*/) {
    return numerics::bits_of(x) >> 31;
  }
  static float value(const Layout& /*layout*/, std::uint32_t code, float step) {
    return code != 0 ? -step : step;
  }
};

}  // namespace

const Kernels kSign = Blocks<Sign>::kernels;

}  // namespace cpdcomm::codec::plain
