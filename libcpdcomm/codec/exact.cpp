#include "codec/exact.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "codec/arrays.hpp"
#include "codec/exact_steps.hpp"
#include "codec/integers.hpp"
#include "cpdcomm/error.hpp"
#include "numerics/exact.hpp"

namespace cpdcomm::codec {
namespace {

using Piece = std::array<std::int32_t, kExactPiece>;

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

std::size_t Exact::size(std::size_t count, std::uint32_t parts) const {
  return packed_bytes(count, bits(parts));
}

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

void Exact::encode(const float* in, std::size_t count, const std::uint32_t* words,
                   const std::optional<RandomStream>& stochastic, std::byte* out) const {
  Piece piece;
  for_pieces(count, layout_.block, [&](std::size_t first, std::size_t size) {
    exact_integers(layout_, in + first, size, words + first / layout_.block,
                   from(stochastic, first), piece.data());
    pack_integers(piece.data(), size, layout_.bits, out + layout_.code_bytes(first));
  });
}

void Exact::add(const std::byte* a, std::uint32_t parts_a, const std::byte* b,
                std::uint32_t parts_b, std::size_t count, std::byte* out) const {
  Piece piece;
  for_pieces(count, 8, [&](std::size_t first, std::size_t size) {
    widen(a + this->size(first, parts_a), parts_a, size, piece.data());
    add_to(b + this->size(first, parts_b), parts_b, size, piece.data());
    const std::uint32_t parts = parts_a + parts_b;
    narrow(piece.data(), parts, size, out + this->size(first, parts));
  });
}

void Exact::widen(const std::byte* in, std::uint32_t parts, std::size_t count,
                  std::int32_t* sums) const {
  unpack_integers(in, count, bits(parts), sums);
}

void Exact::add_to(const std::byte* in, std::uint32_t parts, std::size_t count,
                   std::int32_t* sums) const {
  add_packed_integers(in, count, bits(parts), sums);
}

void Exact::narrow(const std::int32_t* sums, std::uint32_t parts, std::size_t count,
                   std::byte* out) const {
  pack_integers(sums, count, bits(parts), out);
}

void Exact::values(const std::int32_t* sums, std::size_t count, const std::uint32_t* words, int up,
                   float* out) const {
  for_pieces(count, layout_.block, [&](std::size_t first, std::size_t size) {
    exact_values(layout_, sums + first, size, words + first / layout_.block, up, out + first);
  });
}

void Exact::decode_on(const std::byte* in, int width, int up, std::size_t count,
                      const std::uint32_t* words, float* out) const {
  Piece piece;
  for_pieces(count, layout_.block, [&](std::size_t first, std::size_t size) {
    unpack_integers(in + packed_bytes(first, width), size, width, piece.data());
    exact_values(layout_, piece.data(), size, words + first / layout_.block, up, out + first);
  });
}

void Exact::decode(const std::byte* in, std::uint32_t parts, std::size_t count,
                   const std::uint32_t* words, float* out) const {
  decode_on(in, bits(parts), 0, count, words, out);
}

int Exact::result_growth() const { return numerics::sum_growth(world_); }

void Exact::cast_result(std::int32_t* sums, std::size_t count,
                        const std::optional<RandomStream>& stochastic) const {
  for_pieces(count, 8, [&](std::size_t first, std::size_t size) {
    drop_bits(sums + first, size, result_growth(), from(stochastic, first));
  });
}

void Exact::encode_result(const std::byte* in, std::size_t count,
                          const std::optional<RandomStream>& stochastic, std::byte* out) const {
  Piece piece;
  for_pieces(count, 8, [&](std::size_t first, std::size_t size) {
    widen(in + this->size(first, world_), world_, size, piece.data());
    cast_result(piece.data(), size, from(stochastic, first));
    narrow(piece.data(), 1, size, out + this->size(first, 1));
  });
}

void Exact::decode_result(const std::byte* in, std::size_t count, const std::uint32_t* words,
                          float* out) const {
  decode_on(in, layout_.bits, result_growth(), count, words, out);
}

}  // namespace cpdcomm::codec
