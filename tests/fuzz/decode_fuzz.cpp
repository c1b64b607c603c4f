// Any bytes are read without harm, in any format. Buffers are of the exact size and on the heap, so
// that the address sanitizer sees every byte too many.
#include <algorithm>
#include <cstring>
#include <vector>

#include "check.hpp"
#include "codec/codec.hpp"
#include "codec/float_environment.hpp"

namespace cpdcomm::fuzz {
namespace {

/// Takes small numbers off the input; zeros when there is no more.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data), end_(data + size) {}

  std::uint32_t below(std::uint32_t limit) {
    const std::uint32_t low = byte();
    return (low + (byte() << 8)) % limit;
  }

  /// What is left, cut or filled up to so many bytes.
  std::vector<std::byte> rest(std::size_t size) {
    std::vector<std::byte> bytes(size);
    const std::size_t have = std::min(size, static_cast<std::size_t>(end_ - data_));
    if (have > 0) std::memcpy(bytes.data(), data_, have);
    return bytes;
  }

 private:
  std::uint32_t byte() { return data_ == end_ ? 0u : *data_++; }

  const std::uint8_t* data_;
  const std::uint8_t* end_;
};

Format format_of(Input& input) {
  static constexpr const char* kNames[] = {"fp32",      "e4m3fn",    "e3m2fn",    "e2m3fn",
                                           "e2m1fn",    "mxfp8e4m3", "mxfp8e5m2", "mxfp6e3m2",
                                           "mxfp6e2m3", "mxfp4",     "mxint8"};
  static constexpr std::uint32_t kNamed = std::size(kNames);
  const std::uint32_t kind = input.below(kNamed + 4);
  if (kind < kNamed) return Format::parse(kNames[kind]);
  if (kind == kNamed) {
    const int exp_bits = 1 + static_cast<int>(input.below(8));
    return Format::floating(exp_bits, static_cast<int>(input.below(24)));
  }
  // Mostly small blocks, so that short inputs have several.
  const std::string block =
      ":" + std::to_string(8 * (1 + input.below(input.below(8) == 0 ? 8192 : 8)));
  if (kind == kNamed + 1) return Format::parse("sign" + block);
  const std::string bits = std::to_string(2 + input.below(23));
  return Format::parse((kind == kNamed + 2 ? "bfp" : "int") + bits + block);
}

bool same(const std::vector<float>& a, const std::vector<float>& b) {
  return a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

void decode_and_encode(Format format, const std::vector<std::byte>& bytes, std::size_t count,
                       const CastOptions& cast) {
  const std::string name = format.to_string();
  std::vector<float> values(count);
  decode(bytes, format, values);

  std::vector<std::byte> again(bytes.size());
  encode(values, format, again, cast);
  std::vector<float> rounded(count);
  quantize(values, format, rounded, cast);
  std::vector<float> decoded(count);
  decode(again, format, decoded);
  check(same(rounded, decoded), "quantize is not decode(encode())", name);
  if (format.is_float()) check(same(values, decoded), "its values do not survive encode", name);
}

/// A cut changes nothing, and the plain codec reads the same.
void decode_in_parts(Format format, const std::vector<std::byte>& bytes, std::size_t count,
                     std::size_t cut) {
  const codec::FloatEnvironment environment;
  const std::string name = format.to_string();
  const codec::Codec codec = codec::codec_for(format);
  std::vector<float> whole(count);
  codec::plain_codec_for(format).decode(bytes.data(), count, whole.data());

  const std::size_t first = std::min(cut * codec.alignment(), count / 8 * 8);
  const codec::ConstPlace all{bytes.data(), count, 0};
  std::vector<float> parts(count);
  codec.decode(all, first, parts.data());
  codec.decode(all + first, count - first, parts.data() + first);
  check(same(parts, whole), "a cut changes what is decoded", name);

  if (format.is_fp32()) return;           // an addition may change a NaN's payload
  std::vector<float> sums(count, -0.0f);  // -0 + x is x
  codec.decode_add(all, first, sums.data());
  codec.decode_add(all + first, count - first, sums.data() + first);
  check(same(sums, whole), "decode_add adds something else", name);
}

}  // namespace
}  // namespace cpdcomm::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace cpdcomm;
  fuzz::Input input(data, size);
  const Format format = fuzz::format_of(input);
  const std::size_t count = input.below(600);
  const std::size_t cut = input.below(16);
  CastOptions cast;
  cast.saturate = input.below(2) == 1;
  if (input.below(2) == 1) cast.stochastic = RandomStream{.seed = input.below(65536)};
  const std::vector<std::byte> bytes = input.rest(encoded_size(format, count));
  fuzz::decode_and_encode(format, bytes, count, cast);
  fuzz::decode_in_parts(format, bytes, count, cut);
  return 0;
}
