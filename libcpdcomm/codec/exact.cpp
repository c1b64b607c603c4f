#include "codec/exact.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "codec/codec.hpp"
#include "codec/plain/bit_stream.hpp"
#include "codec/plain/blocks.hpp"
#include "codec/plain/values.hpp"
#include "cpdcomm/error.hpp"
#include "numerics/exact.hpp"

namespace cpdcomm::codec {
namespace {

/// Reads packed integers with their sign.
class Integers {
 public:
  Integers(const std::byte* in, std::size_t size, int width)
      : reader_(in, size, width), width_(width) {}
  std::int32_t get() { return plain::from_code(reader_.get(), width_); }

 private:
  BitReader reader_;
  int width_;
};

CastOptions cast_of(const std::optional<RandomStream>& stochastic) {
  return {.stochastic = stochastic};
}

}  // namespace

Exact::Exact(Format format, std::uint32_t world) : layout_(format), world_(world) {
  if (format.kind() != Format::Kind::bfp && format.kind() != Format::Kind::integer) {
    throw Error(ErrorCode::unsupported,
                fmt::format("accumulate exact sums integers on shared scales, of bfpK and intK; "
                            "not {}",
                            format.to_string()));
  }
  if (bits(world) > numerics::kWidestSum) {
    throw Error(ErrorCode::unsupported,
                fmt::format("an exact sum of {} parts of {} takes {} bits a value; at most {} are "
                            "allowed",
                            world, format.to_string(), bits(world), numerics::kWidestSum));
  }
}

int Exact::bits(std::uint32_t parts) const { return layout_.bits + numerics::sum_growth(parts); }

std::size_t Exact::size(std::size_t count, std::uint32_t parts) const {
  return packed_bytes(count, bits(parts));
}

void Exact::scales(const float* in, std::size_t count, std::uint32_t* words) const {
  const bool is_bfp = layout_.format.kind() == Format::Kind::bfp;
  for (std::size_t first = 0; first < count; first += layout_.block) {
    const std::uint32_t largest = largest_bits(in + first, std::min(layout_.block, count - first));
    *words++ = is_bfp ? numerics::bfp_exponent(largest) : largest;
  }
}

float Exact::step(std::uint32_t word) const {
  const int man_bits = layout_.bits - 1;
  return layout_.format.kind() == Format::Kind::bfp ? numerics::bfp_step(word, man_bits)
                                                    : numerics::linear_scale(word, man_bits);
}

std::int32_t Exact::integer(float x, float step, const std::optional<RandomStream>& stochastic,
                            std::size_t i) const {
  if (std::isnan(step)) return 0;
  return plain::with_rounding(cast_of(stochastic), i, [&](auto rounding) {
    if (layout_.format.kind() == Format::Kind::integer) {
      return numerics::linear_encode(x, step, layout_.bits - 1, rounding);
    }
    return numerics::round_to_integer(x, numerics::exponent_of(step), layout_.most, rounding);
  });
}

void Exact::encode(const float* in, std::size_t count, const std::uint32_t* words,
                   const std::optional<RandomStream>& stochastic, std::byte* out) const {
  BitWriter writer(out, layout_.bits);
  for (std::size_t first = 0; first < count; first += layout_.block) {
    const float on = step(*words++);
    const std::size_t last = std::min(first + layout_.block, count);
    for (std::size_t i = first; i < last; ++i) {
      writer.put(plain::to_code(integer(in[i], on, stochastic, i), layout_.bits));
    }
  }
  writer.finish();
}

void Exact::add(const std::byte* a, std::uint32_t parts_a, const std::byte* b,
                std::uint32_t parts_b, std::size_t count, std::byte* out) const {
  Integers from_a(a, size(count, parts_a), bits(parts_a));
  Integers from_b(b, size(count, parts_b), bits(parts_b));
  const int width = bits(parts_a + parts_b);
  BitWriter writer(out, width);
  for (std::size_t i = 0; i < count; ++i) {
    writer.put(plain::to_code(from_a.get() + from_b.get(), width));
  }
  writer.finish();
}

void Exact::widen(const std::byte* in, std::uint32_t parts, std::size_t count,
                  std::int32_t* sums) const {
  Integers from(in, size(count, parts), bits(parts));
  for (std::size_t i = 0; i < count; ++i) sums[i] = from.get();
}

void Exact::add_to(const std::byte* in, std::uint32_t parts, std::size_t count,
                   std::int32_t* sums) const {
  Integers from(in, size(count, parts), bits(parts));
  for (std::size_t i = 0; i < count; ++i) sums[i] += from.get();
}

void Exact::narrow(const std::int32_t* sums, std::uint32_t parts, std::size_t count,
                   std::byte* out) const {
  BitWriter writer(out, bits(parts));
  for (std::size_t i = 0; i < count; ++i) writer.put(plain::to_code(sums[i], bits(parts)));
  writer.finish();
}

void Exact::decode_on(const std::byte* in, int width, int up, std::size_t count,
                      const std::uint32_t* words, float* out) const {
  Integers from(in, packed_bytes(count, width), width);
  for (std::size_t first = 0; first < count; first += layout_.block) {
    const double on = std::ldexp(static_cast<double>(step(*words++)), up);
    const std::size_t last = std::min(first + layout_.block, count);
    for (std::size_t i = first; i < last; ++i) out[i] = numerics::sum_value(from.get(), on);
  }
}

void Exact::decode(const std::byte* in, std::uint32_t parts, std::size_t count,
                   const std::uint32_t* words, float* out) const {
  decode_on(in, bits(parts), 0, count, words, out);
}

void Exact::encode_result(const std::byte* in, std::size_t count,
                          const std::optional<RandomStream>& stochastic, std::byte* out) const {
  Integers from(in, size(count, world_), bits(world_));
  BitWriter writer(out, layout_.bits);
  const int drop = numerics::sum_growth(world_);
  for (std::size_t i = 0; i < count; ++i) {
    const std::int32_t sum = from.get();
    const std::int32_t code = plain::with_rounding(
        cast_of(stochastic), i, [&](auto r) { return numerics::narrow_sum(sum, drop, r); });
    writer.put(plain::to_code(code, layout_.bits));
  }
  writer.finish();
}

void Exact::decode_result(const std::byte* in, std::size_t count, const std::uint32_t* words,
                          float* out) const {
  decode_on(in, layout_.bits, numerics::sum_growth(world_), count, words, out);
}

}  // namespace cpdcomm::codec
