#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "codec/layout.hpp"
#include "cpdcomm/codec.hpp"
#include "numerics/linear.hpp"
#include "numerics/shared_exponent.hpp"

// The steps of `exact` (codec/exact.hpp) between FP32 values and integers on given scales, a piece
// at a time: at most kExactPiece values that are whole blocks, or lie in one.
namespace cpdcomm::codec {

inline constexpr std::size_t kExactPiece = 1024;

/// What the integers of a block count; NaN where its scale word says NaN.
inline float exact_step(const Layout& layout, std::uint32_t word) {
  const int man_bits = layout.bits - 1;
  return layout.format.kind() == Format::Kind::bfp ? numerics::bfp_step(word, man_bits)
                                                   : numerics::linear_scale(word, man_bits);
}

/// The integers of values, 0 in blocks whose word says NaN.
/// @param words  of the piece's blocks
void exact_integers(const Layout& layout, const float* in, std::size_t count,
                    const std::uint32_t* words, const std::optional<RandomStream>& stochastic,
                    std::int32_t* out);

/// The values of sums on the blocks' steps times 2^up, each rounded once.
/// @param up  from -600 to 600
void exact_values(const Layout& layout, const std::int32_t* sums, std::size_t count,
                  const std::uint32_t* words, int up, float* out);

/// Divides sums by 2^drop, to integers.
void drop_bits(std::int32_t* sums, std::size_t count, int drop,
               const std::optional<RandomStream>& stochastic);

namespace plain {
void exact_integers(const Layout& layout, const float* in, std::size_t count,
                    const std::uint32_t* words, const std::optional<RandomStream>& stochastic,
                    std::int32_t* out);
void exact_values(const Layout& layout, const std::int32_t* sums, std::size_t count,
                  const std::uint32_t* words, int up, float* out);
void drop_bits(std::int32_t* sums, std::size_t count, int drop,
               const std::optional<RandomStream>& stochastic);
}  // namespace plain

}  // namespace cpdcomm::codec
