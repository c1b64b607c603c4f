#pragma once

#include <optional>

#include "codec/exact.hpp"
#include "cpdcomm/options.hpp"
#include "reduction/integer_sums.hpp"

namespace cpdcomm::reduction {

/// `exact`: sums of the codes of `bfpK` and `intK` on scales that all ranks share. One result bit
/// for bit, however it comes about; with stochastic rounding the ranks' numbers count too.
///
/// Where the scales are shared is exact in FP32: a value times 2^input_exponent is rounded to FP32
/// only if that is subnormal, and beyond the largest it is Inf, which makes its block NaN. A sum
/// times 2^output_exponent is rounded once, at most to the largest finite value.
///
/// Error feedback: v = g + r is encoded, and r becomes v - decode(encode(v)) when a part is
/// encoded, so that must happen once a call. A tensor that is not finite leaves r alone: all words
/// of a tensor with a residual must be agreed before the first of its blocks is encoded.
class ExactSum final : public IntegerSums {
 public:
  /// @param tensors  one word per block
  /// @param exact    of the wire format, for ranks times emulated nodes parts
  /// @param result   how the sum travels back
  /// @param divisor  1, or for the average the number of parts
  /// @param draws    seed, step and this rank, where casts round stochastically
  ExactSum(std::vector<IntegerTensor> tensors, const codec::Exact& exact, Result result,
           float divisor, std::optional<RandomStream> draws = {});

 private:
  int width(std::uint32_t parts) const override { return exact_.bits(parts); }
  int result_width() const override;
  void own_sum(const Tile& tile, std::int32_t* sums) override;
  void cast_result(const Tile& tile, std::int32_t* sums) const override;
  bool values_of(const Tile& tile, const std::int32_t* sums, bool is_result,
                 float* out) const override;

  std::span<const std::uint32_t> words_of(const Tile& tile) const;
  std::optional<RandomStream> draws_of(const Tile& tile, std::uint32_t rank,
                                       std::uint16_t phase) const;
  std::optional<RandomStream> draws_of_part(const Tile& tile, std::uint32_t node) const;
  void encode_node(const Tile& tile, std::uint32_t node, std::int32_t* out) const;
  void encode_with_residual(const Tile& tile, std::int32_t* out);
  bool is_finite(const Tile& tile);

  /// Of a whole tensor, found out when first asked for.
  enum class Judged : std::uint8_t { not_yet, finite, non_finite };

  codec::Exact exact_;
  Result result_;
  float divisor_;
  std::optional<RandomStream> draws_;
  std::vector<Judged> judged_;  // per tensor; threads that find out at once find the same
};

}  // namespace cpdcomm::reduction
