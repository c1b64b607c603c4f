#include "codec/exact.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "codec/arrays.hpp"
#include "codec/exact_steps.hpp"
#include "cpdcomm/error.hpp"
#include "numerics/exact.hpp"

namespace cpdcomm::codec {
namespace {

/// Calls `work(first, size)` for pieces that are whole blocks, or lie in one.
template <typename F>
void for_pieces(std::size_t count, std::size_t block, F&& work) {
  const std::size_t most = block <= kExactPiece ? kExactPiece / block * block : kExactPiece;
  for (std::size_t first = 0; first < count;) {
    std::size_t size = std::min(most, count - first);
    if (block > kExactPiece) size = std::min(size, block - first % block);
    work(first, size);
    first += size;
  }
}

/// The words of a stream from a later value on.
std::optional<RandomStream> from(std::optional<RandomStream> stochastic, std::size_t first) {
  if (stochastic) stochastic->first += first;
  return stochastic;
}

[[noreturn]] void refuse_width(Format format, std::uint32_t world, int bits) {
  const int room = numerics::kWidestSum - format.code_bits();
  throw Error(ErrorCode::unsupported,
              fmt::format("an exact sum of {} parts of {} takes {} bits a value; at most {} are "
                          "allowed, which hold {} parts",
                          world, format.to_string(), bits, numerics::kWidestSum, 1u << room));
}

}  // namespace

Exact::Exact(Format format, std::uint32_t world) : layout_(format), world_(world) {
  if (format.kind() != Format::Kind::bfp && format.kind() != Format::Kind::integer) {
    throw Error(ErrorCode::unsupported,
                fmt::format("accumulate exact sums integers on shared scales, of bfpK and intK; "
                            "not {}",
                            format.to_string()));
  }
  if (bits(world) > numerics::kWidestSum) refuse_width(format, world, bits(world));
}

int Exact::bits(std::uint32_t parts) const { return layout_.bits + numerics::sum_growth(parts); }

std::uint32_t Exact::word(std::uint32_t largest_bits) const {
  return words_are_bytes() ? numerics::bfp_exponent(largest_bits) : largest_bits;
}

void Exact::scales(const float* in, std::size_t count, std::uint32_t* words) const {
  for (std::size_t first = 0; first < count; first += layout_.block) {
    *words++ = word(largest_bits(in + first, std::min(layout_.block, count - first)));
  }
}

bool Exact::is_nan(std::uint32_t word) const {
  return numerics::is_non_finite(exact_step(layout_, word));
}

void Exact::integers(const float* in, std::size_t count, const std::uint32_t* words,
                     const std::optional<RandomStream>& stochastic, std::int32_t* out) const {
  for_pieces(count, layout_.block, [&](std::size_t first, std::size_t size) {
    exact_integers(layout_, in + first, size, words + first / layout_.block,
                   from(stochastic, first), out + first);
  });
}

void Exact::values(const std::int32_t* sums, std::size_t count, const std::uint32_t* words, int up,
                   float* out) const {
  for_pieces(count, layout_.block, [&](std::size_t first, std::size_t size) {
    exact_values(layout_, sums + first, size, words + first / layout_.block, up, out + first);
  });
}

int Exact::result_growth() const { return numerics::sum_growth(world_); }

void Exact::cast_result(std::int32_t* sums, std::size_t count,
                        const std::optional<RandomStream>& stochastic) const {
  for_pieces(count, 8, [&](std::size_t first, std::size_t size) {
    drop_bits(sums + first, size, result_growth(), from(stochastic, first));
  });
}

}  // namespace cpdcomm::codec
