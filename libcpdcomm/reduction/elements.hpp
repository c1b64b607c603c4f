#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "cpdcomm/communicator.hpp"

// The values of FP32, BF16 and FP16 tensors, as FP32.
namespace cpdcomm::reduction {

/// What one rank brings of a tensor.
struct Gradients {
  std::vector<const void*> sources;  ///< this rank's part, or one per emulated node
  std::size_t count;
  DataType type;
  /// Error feedback: added to the one source there is. Null: none.
  float* residual = nullptr;
  /// The power of two that what is summed is multiplied by, after the residual has been added.
  int input_exponent = 0;
};

/// Values first .. first + count of a tensor: where they lie if that is FP32, else in `room`.
const float* read_elements(const void* tensor, DataType type, std::size_t first, std::size_t count,
                           float* room);

/// The same with a residual added, where there is one; then they are in `room`.
/// @param residual  of the whole tensor; may be null
const float* read_elements(const void* tensor, DataType type, const float* residual,
                           std::size_t first, std::size_t count, float* room);

/// Rounds values to the type of a tensor other than FP32, in their place.
/// @param room  for `count` values
/// @return whether any is not finite there
bool write_elements(const float* values, std::size_t count, void* tensor, DataType type,
                    std::size_t first, float* room);

/// The FP32 bits of the largest magnitude of values first .. first + count, residual included, over
/// all nodes; Inf and NaN compare above all.
std::uint32_t largest_bits(const Gradients& gradients, std::size_t first, std::size_t count);

/// Whether any value of a tensor is Inf or NaN; integers are not.
bool holds_non_finite(const void* tensor, DataType type, std::size_t count);

}  // namespace cpdcomm::reduction
