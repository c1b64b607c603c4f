#include "support/patterns.hpp"

#include <algorithm>
#include <cmath>

#include "support/bits.hpp"
#include "support/random.hpp"
#include "support/reference_cast.hpp"

namespace cpdcomm::testing {
namespace {

constexpr std::uint32_t kInfinity = 0x7f800000u;

class Patterns {
 public:
  explicit Patterns(unsigned seed) : random_(seed) {}

  void add(std::uint32_t magnitude) {
    bits_.push_back(magnitude & 0x7fffffffu);
    bits_.push_back(magnitude | 0x80000000u);
  }

  void add_specials() {
    for (const std::uint32_t special :
         {0u,          1u,          2u,          3u,          0x3fffffu,   0x400000u,   0x400001u,
          0x7ffffeu,   0x7fffffu,   0x800000u,   0x800001u,   0x7f7ffffeu, 0x7f7fffffu, kInfinity,
          0x7f800001u, 0x7fa00000u, 0x7fbfffffu, 0x7fc00000u, 0x7fc12345u, 0x7fffffffu}) {
      add(special);
    }
  }

  void add_every_exponent() {
    for (std::uint32_t field = 0; field < 256; ++field) {
      for (const std::uint32_t mantissa :
           {0u, 1u, 0x400000u, 0x7fffffu, random_.below(0x800000u)}) {
        add((field << 23) | mantissa);
      }
    }
  }

  void add_subnormals(int count) {
    for (int i = 0; i < count; ++i) add(random_.below(0x800000u >> random_.below(23)));
  }

  void add_noise(int count) {
    for (int i = 0; i < count; ++i) add(random_());
  }

  /// The FP32 values at and on both sides of a magnitude, as far as FP32 reaches.
  void add_near(double magnitude) {
    const std::uint32_t at = bits(static_cast<float>(magnitude));
    for (const std::uint32_t near : {at - 1, at, at + 1}) {
      if (near <= kInfinity) add(near);
    }
  }

  void add_boundaries(Format format, int shift) {
    for (const std::uint32_t code : sample_of_codes(format)) {
      const Exact value = exact_code(code, format);
      const double units = static_cast<double>(value.units);
      add_near(std::ldexp(units, value.exponent - shift));
      add_near(std::ldexp(units + 0.5, value.exponent - shift));
    }
  }

  std::vector<float> take() {
    std::shuffle(bits_.begin(), bits_.end(), random_);
    std::vector<float> values;
    for (const std::uint32_t pattern : bits_) values.push_back(value_of(pattern));
    return values;
  }

 private:
  /// All codes of a small format; of a large one the edges, both sides of binades, and others.
  std::vector<std::uint32_t> sample_of_codes(Format format) {
    const std::uint32_t top = infinity_code(format);
    std::vector<std::uint32_t> codes;
    if (top <= 256) {
      for (std::uint32_t code = 0; code <= top; ++code) codes.push_back(code);
      return codes;
    }
    const std::uint32_t per_binade = 1u << format.man_bits();
    for (std::uint32_t i = 0; i < 8; ++i) {
      codes.insert(codes.end(), {i, per_binade + i, per_binade - i, top - i});
      const std::uint32_t edge = random_.below(top / per_binade) * per_binade;
      codes.insert(codes.end(), {edge, edge + 1, edge + per_binade - 1});
    }
    for (int i = 0; i < 150; ++i) codes.push_back(random_.below(top));
    std::erase_if(codes, [top](std::uint32_t code) { return code > top; });
    return codes;
  }

  Random random_;
  std::vector<std::uint32_t> bits_;
};

}  // namespace

std::vector<float> cast_patterns(Format format, int shift, unsigned seed) {
  Patterns patterns(seed);
  patterns.add_specials();
  patterns.add_every_exponent();
  patterns.add_subnormals(50);
  patterns.add_noise(300);
  patterns.add_boundaries(format, shift);
  return patterns.take();
}

std::vector<float> gradients(std::size_t count, unsigned seed) {
  Random random(seed);
  std::vector<float> values(count);
  for (float& value : values) {
    const std::uint32_t word = random();
    const float magnitude = 1.0f + static_cast<float>(word >> 9) * 0x1p-23f;
    const int kind = static_cast<int>(random.below(64));
    const int exponent = kind == 0 ? -140 : -2 - static_cast<int>(random.below(18));
    value = kind == 1 ? 0.0f : std::ldexp(word & 1u ? -magnitude : magnitude, exponent);
  }
  return values;
}

}  // namespace cpdcomm::testing
