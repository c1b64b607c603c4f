#include <memory>
#include <vector>

#include "codec/codec.hpp"
#include "codec/float_codec.hpp"
#include "codec/identity_codec.hpp"

namespace cpdcomm::codec {
namespace {

constexpr std::size_t index_of(int exp_bits, int man_bits) {
  return static_cast<std::size_t>((exp_bits - 1) * 24 + man_bits);
}

std::vector<std::unique_ptr<Codec>> all_float_codecs() {
  std::vector<std::unique_ptr<Codec>> codecs(8 * 24);
  for (int exp_bits = 1; exp_bits <= 8; ++exp_bits) {
    for (int man_bits = 0; man_bits <= 23; ++man_bits) {
      const Format format = Format::floating(exp_bits, man_bits);
      auto& codec = codecs[index_of(exp_bits, man_bits)];
      if (format.is_fp32()) {
        codec = std::make_unique<IdentityCodec>();
      } else {
        codec = std::make_unique<FloatCodec>(format);
      }
    }
  }
  return codecs;
}

}  // namespace

const Codec& codec_for(Format format) {
  static const auto codecs = all_float_codecs();
  return *codecs[index_of(format.exp_bits(), format.man_bits())];
}

}  // namespace cpdcomm::codec
