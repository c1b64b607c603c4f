#pragma once

#include <cstring>

#include "codec/arrays.hpp"
#include "codec/kernels.hpp"
#include "codec/plain/bit_stream.hpp"
#include "codec/plain/values.hpp"

namespace cpdcomm::codec::plain {

/// The kernels of a format with blocks. A Family says
///   Stored                                    what is stored of a block
///   Stored scale(layout, in, count)           of a block's values
///   float step(layout, stored)                what codes are multiplied by; NaN for a NaN block
///   uint32 code(layout, x, step, rounding)    of a finite value, in layout.bits bits
///   float value(layout, code, step)           of a code
template <typename Family>
struct Blocks {
  using Stored = typename Family::Stored;

  static std::uint32_t code_of(const Layout& layout, float x, float step, const CastOptions& cast,
                               std::size_t i) {
    if (numerics::is_non_finite(step)) return 0;
    return with_rounding(cast, i,
                         [&](auto rounding) { return Family::code(layout, x, step, rounding); });
  }

  static float value_of(const Layout& layout, std::uint32_t code, float step) {
    if (numerics::is_non_finite(step)) return numerics::float_of(numerics::kQuietNan);
    return Family::value(layout, code, step);
  }

  static void encode(const Layout& layout, const float* in, std::size_t count,
                     const CastOptions& cast, Place out) {
    BitWriter writer(out.codes(layout), layout.bits);
    std::byte* scales = out.scales(layout);
    for (std::size_t first = 0; first < count; first += layout.block) {
      const std::size_t size = std::min(layout.block, count - first);
      const Stored scale = Family::scale(layout, in + first, size);
      std::memcpy(scales, &scale, sizeof scale);
      scales += sizeof scale;
      const float step = Family::step(layout, scale);
      for (std::size_t i = first; i < first + size; ++i) {
        writer.put(code_of(layout, in[i], step, cast, i));
      }
    }
    writer.finish();
  }

  static void decode(const Layout& layout, ConstPlace in, std::size_t count, float* out) {
    BitReader reader(in.codes(layout), layout.code_bytes(count), layout.bits);
    const std::byte* scales = in.bytes + layout.code_bytes(in.of);
    for (std::size_t i = 0; i < count; ++i) {
      Stored scale;
      std::memcpy(&scale, scales + (in.first + i) / layout.block * sizeof scale, sizeof scale);
      out[i] = value_of(layout, reader.get(), Family::step(layout, scale));
    }
  }

  static void round(const Layout& layout, const float* in, std::size_t count,
                    const CastOptions& cast, float* out) {
    for (std::size_t first = 0; first < count; first += layout.block) {
      const std::size_t size = std::min(layout.block, count - first);
      const float step = Family::step(layout, Family::scale(layout, in + first, size));
      for (std::size_t i = first; i < first + size; ++i) {
        out[i] = value_of(layout, code_of(layout, in[i], step, cast, i), step);
      }
    }
  }

  static void round_on(const Layout& layout, const float* in, std::size_t count, float step,
                       const CastOptions& cast, float* out) {
    for (std::size_t i = 0; i < count; ++i) {
      out[i] = value_of(layout, code_of(layout, in[i], step, cast, i), step);
    }
  }

  static constexpr Kernels kernels{encode, decode, decode_add<decode>, round, round_on};
};

/// An integer in the lowest bits of a code, and back.
inline std::uint32_t to_code(std::int32_t integer, int bits) {
  return static_cast<std::uint32_t>(integer) & ((1u << bits) - 1u);
}
inline std::int32_t from_code(std::uint32_t code, int bits) {
  return static_cast<std::int32_t>(code << (32 - bits)) >> (32 - bits);
}

}  // namespace cpdcomm::codec::plain
