#pragma once

#include <span>

#include "collective/summing.hpp"

namespace cpdcomm::collective {

/// Sums tensors with `exact` or `majority`.
/// @param places  of the tensors in the call
void sum_integers(const Summing& call, std::span<const std::size_t> places);

}  // namespace cpdcomm::collective
