#include <cmath>

#include "codec/float_environment.hpp"
#include "codec/layout.hpp"
#include "numerics/shared_exponent.hpp"

namespace cpdcomm {
namespace {

void describe_floats(const numerics::FloatLayout& floats, FormatInfo& about) {
  about.largest = numerics::decode_value(floats.largest, floats);
  // e1m0 has no finite value but 0: its code 1 is Inf.
  about.smallest = floats.largest == 0 ? 0 : numerics::decode_value(1, floats);
  const bool has_normals = floats.largest >= (1u << floats.man_bits);
  about.smallest_normal = has_normals ? std::ldexp(1.0, floats.emin) : about.smallest;
  about.epsilon = std::ldexp(1.0, -floats.man_bits);
}

/// Integers up to `most` times 2^exponent.
void describe_integers(std::int32_t most, int exponent, FormatInfo& about) {
  about.largest = std::ldexp(static_cast<double>(most), exponent);
  about.smallest = std::ldexp(1.0, exponent);
  about.smallest_normal = about.smallest;
  about.epsilon = about.smallest;
}

}  // namespace

FormatInfo info(Format format) {
  const codec::FloatEnvironment environment;  // FP32 subnormals are values like any other
  const codec::Layout layout(format);
  FormatInfo about{};
  about.bits = layout.bits;
  about.bits_with_scales = layout.bits;
  if (layout.block != 0) {
    about.bits_with_scales +=
        8.0 * static_cast<double>(layout.scale_bytes) / static_cast<double>(layout.block);
  }
  switch (format.kind()) {
    case Format::Kind::floating:
    case Format::Kind::finite:
      describe_floats(layout.floats, about);
      break;
    case Format::Kind::mx:
      if (format.exp_bits() != 0) {
        describe_floats(layout.floats, about);
      } else {
        describe_integers(layout.most, -numerics::kMxIntFraction, about);
      }
      break;
    case Format::Kind::bfp:
      describe_integers(layout.most, -format.man_bits(), about);
      break;
    case Format::Kind::integer:
      describe_integers(layout.most, 0, about);
      break;
    case Format::Kind::sign:
      about.largest = about.smallest = about.smallest_normal = 1.0;
      break;
  }
  return about;
}

}  // namespace cpdcomm
