#pragma once

#include <span>

#include "collective/message.hpp"
#include "cpdcomm/communicator.hpp"

namespace cpdcomm::collective {

/// FP32, BF16 or FP16: the types that a wire format can carry.
bool is_small_float(DataType type);

/// Whether a tensor is summed over a wire format; everything else travels as it is.
bool is_summed_as_float(const Tensor& tensor, const AllreduceOptions& options);

/// The wire format of one tensor of a call.
Format wire_of(const Tensor& tensor, const AllreduceOptions& options);

/// Whether a tensor gets scale exponents.
bool is_scaled(const Tensor& tensor, const AllreduceOptions& options);

/// Checks what this rank asks for, before anything is sent.
/// @throws Error invalid_argument or unsupported, naming the tensor and what is allowed
void check_request(std::span<const Tensor> tensors, const AllreduceOptions& options, int ranks);

/// What the ranks must agree about.
Call call_of(std::span<const Tensor> tensors, const AllreduceOptions& options, Algorithm algorithm);

}  // namespace cpdcomm::collective
