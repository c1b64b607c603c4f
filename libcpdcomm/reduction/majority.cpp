#include "reduction/majority.hpp"

#include <algorithm>

#include "codec/arrays.hpp"
#include "codec/integers.hpp"
#include "numerics/cast.hpp"
#include "numerics/exact.hpp"

namespace cpdcomm::reduction {
namespace {

/// 1, 0 or -1.
std::int32_t sign(std::int32_t sum) { return (sum > 0 ? 1 : 0) - (sum < 0 ? 1 : 0); }

/// 1 or -1, by the sign bit.
std::int32_t sign(float value) {
  return (static_cast<std::int32_t>(numerics::bits_of(value)) >> 31) | 1;
}

}  // namespace

Majority::Majority(std::vector<IntegerTensor> tensors) : IntegerSums(std::move(tensors), 8) {}

int Majority::width(std::uint32_t parts) const {
  return parts == 1 ? 1 : 1 + numerics::sum_growth(parts + 1);
}

void Majority::own_sum(const Tile& tile, std::int32_t* sums) {
  const Gradients& from = tile.tensor.gradients;
  std::fill_n(sums, tile.count, 0);
  for (const void* source : from.sources) {
    const float* values =
        read_elements(source, from.type, tile.first, tile.count, scratch().values.data());
    for (std::size_t i = 0; i < tile.count; ++i) sums[i] += sign(values[i]);
  }
}

// A sign alone is its sign bit, which as an integer of one bit is 0 or -1.

void Majority::add_sum(const std::byte* in, std::uint32_t parts, std::size_t count,
                       std::int32_t* sums) const {
  if (parts != 1) return IntegerSums::add_sum(in, parts, count, sums);
  std::int32_t* const bits = scratch().integers.data();
  codec::unpack_integers(in, count, 1, bits);
  for (std::size_t i = 0; i < count; ++i) sums[i] += 2 * bits[i] + 1;
}

void Majority::pack_sum(const std::int32_t* sums, std::uint32_t parts, std::size_t count,
                        std::byte* out) const {
  if (parts != 1) return IntegerSums::pack_sum(sums, parts, count, out);
  std::int32_t* const bits = scratch().integers.data();
  for (std::size_t i = 0; i < count; ++i) bits[i] = sums[i] >> 31;
  codec::pack_integers(bits, count, 1, out);
}

void Majority::cast_result(const Tile& tile, std::int32_t* sums) const {
  for (std::size_t i = 0; i < tile.count; ++i) sums[i] = sign(sums[i]);
}

bool Majority::values_of(const Tile& tile, const std::int32_t* sums, bool /*is_result*/,
                         float* out) const {
  if (tile.tensor.words[0] != 0) {
    std::fill_n(out, tile.count, numerics::float_of(numerics::kQuietNan));
    return true;
  }
  for (std::size_t i = 0; i < tile.count; ++i) out[i] = static_cast<float>(sign(sums[i]));
  if (tile.tensor.output_exponent == 0) return false;
  return codec::finish(out, tile.count, -tile.tensor.output_exponent, 1.0f, out);
}

}  // namespace cpdcomm::reduction
