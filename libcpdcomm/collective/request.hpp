#pragma once

#include <span>

#include "cpdcomm/communicator.hpp"

namespace cpdcomm::collective {

/// FP32, BF16 or FP16: the types that a wire format can carry.
bool is_small_float(DataType type);

/// Whether a tensor is summed over a wire format; everything else travels as it is.
bool is_summed_as_float(const Tensor& tensor, const AllreduceOptions& options);

/// `exact` and `majority`: partial sums are integers.
bool is_integer_sum(Accumulate accumulate);
/// Whether a tensor is summed in integers: not where it is exempt, with a float format of its own.
bool is_summed_in_integers(const Tensor& tensor, const AllreduceOptions& options);

/// The wire format of one tensor of a call.
Format wire_of(const Tensor& tensor, const AllreduceOptions& options);

/// Whether a tensor of floats gets scale exponents.
bool is_scaled(const Tensor& tensor, const AllreduceOptions& options);

/// Checks what this rank asks for, before anything is sent.
/// @throws Error invalid_argument or unsupported, naming the tensor and what is allowed
void check_request(std::span<const Tensor> tensors, const AllreduceOptions& options, int ranks);

}  // namespace cpdcomm::collective
