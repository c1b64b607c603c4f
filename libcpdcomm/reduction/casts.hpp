#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "reduction/blocks.hpp"

namespace cpdcomm::reduction {

/// How each cast rounds, and the random words that it draws: no two draw the same (numerics:
/// stochastic rounding).
///
/// The members of a host are its ranks, or the nodes that a rank emulates, or a rank alone. What is
/// cast of several members' parts draws as the last of them.
class Casts {
 public:
  /// @param draws       seed, step and this rank, where casts round stochastically
  /// @param nodes       that this rank stands for, or 1
  /// @param host_ranks  in the order of joining; empty without hosts
  Casts(std::optional<RandomStream> draws, std::size_t nodes,
        const std::vector<std::uint32_t>& host_ranks);

  /// Of this rank's part, or a node's.
  CastOptions of_part(const Block& block, const Level& level, std::size_t node) const;
  /// Of the sum of the host's first so many parts.
  CastOptions of_host(const Block& block, std::size_t parts) const;
  /// Of a sum of so many parts.
  CastOptions of_sum(const Block& block, std::size_t parts) const;
  CastOptions of_result(const Block& block) const;

 private:
  CastOptions options(const Block& block, bool saturate, std::uint32_t rank,
                      std::size_t phase) const;

  std::optional<RandomStream> draws_;
  std::vector<std::uint32_t> nodes_;    // under what number each draws
  std::vector<std::uint32_t> members_;  // the same of the host
};

/// Encodes x * 2^shift. Floats take the shift in the cast; blocks are scaled first, in `room`.
void encode_scaled(const codec::Codec& codec, const float* in, std::size_t count,
                   const CastOptions& cast, codec::Place out, std::vector<float>& room);
/// decode(encode(x * 2^shift)) likewise; `out` may be `in`.
void round_scaled(const codec::Codec& codec, const float* in, std::size_t count,
                  const CastOptions& cast, float* out);

}  // namespace cpdcomm::reduction
