#include "codec/layout.hpp"

namespace cpdcomm::codec {
namespace {

numerics::FloatLayout floats_of(Format format) {
  const bool has_floats =
      format.is_float() || (format.kind() == Format::Kind::mx && format.exp_bits() != 0);
  return has_floats ? numerics::FloatLayout::of(format) : numerics::FloatLayout(8, 23);
}

}  // namespace

Layout::Layout(Format of)
    : format(of),
      bits(of.code_bits()),
      block(of.block()),
      scale_bytes(of.scale_bytes()),
      floats(floats_of(of)),
      most(of.is_float() ? 0 : numerics::largest_integer(of.man_bits())) {}

}  // namespace cpdcomm::codec
