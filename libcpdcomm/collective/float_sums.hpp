#pragma once

#include <span>

#include "collective/summing.hpp"

namespace cpdcomm::collective {

/// Sums tensors of floats with `wide`, `rounded` or `kahan`.
/// @param places  of the tensors in the call
void sum_floats(const Summing& call, std::span<const std::size_t> places);

}  // namespace cpdcomm::collective
