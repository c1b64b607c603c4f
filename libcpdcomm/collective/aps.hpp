#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cpdcomm/communicator.hpp"

namespace cpdcomm::collective {

/// How many scale exponents a tensor of `count` values takes; `group` values share one (0: all).
std::size_t exponent_count(std::size_t count, std::size_t group);

/// APS, first step: this rank's exponents of a tensor, over all its parts.
/// @param parts  the rank's part, or one per emulated node, each `count` elements of `type`
/// @param world  ranks times emulated nodes
/// @param out    exponent_count(count, group) exponents
void scale_exponents(std::span<const void* const> parts, std::size_t count, DataType type,
                     std::size_t group, std::uint64_t world, std::span<std::int16_t> out);

}  // namespace cpdcomm::collective
