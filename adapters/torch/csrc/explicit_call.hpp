#pragma once

#include <ATen/ATen.h>

#include <memory>
#include <optional>
#include <vector>

#include "cpdcomm/communicator.hpp"
#include "tensors.hpp"

namespace cpdcomm::torch_adapter {

/// What cpdcomm.all_reduce asks for beyond the options of the group. Lists other than `tensors`
/// have one entry per tensor, or none at all.
struct ExplicitCall {
  std::vector<at::Tensor> tensors;
  std::vector<std::optional<Format>> wires;
  std::vector<std::vector<at::Tensor>> nodes;          ///< the emulated nodes' parts
  std::vector<at::Tensor> outputs;                     ///< float32, for the results; else in place
  std::vector<at::Tensor> residuals;                   ///< contiguous, float32: error feedback
  std::vector<std::shared_ptr<ScaleMemory>> memories;  ///< of scaling `delayed`
  int input_exponent = 0;
  int output_exponent = 0;
  AllreduceOptions options;
};

/// The library's view of contiguous tensors.
std::vector<Tensor> tensors_of(const Contiguous& dense);

/// Says where tensors end in a flat buffer, for a sum of it that torch starts and that cannot say
/// so: each of them then has an exponent of its own. Forgotten with the buffer's memory.
/// @param ends  ascending; the last is the buffer's size
/// @throws Error invalid_argument
void note_ends(const at::Tensor& flat, const std::vector<std::size_t>& ends);

/// The library's view of contiguous tensors, and of each that has noted ends, its parts.
/// @param tensors  what `dense` stands for
std::vector<Tensor> noted_parts_of(const std::vector<at::Tensor>& tensors, const Contiguous& dense);

/// The library's view of a call's tensors, and the memory that it refers to.
class CallTensors {
 public:
  explicit CallTensors(const ExplicitCall& call);
  const std::vector<Tensor>& tensors() const { return tensors_; }
  void copy_back() const { outputs_.copy_back(); }

 private:
  void read_from_inputs();
  void take_nodes(std::size_t i, const std::vector<at::Tensor>& nodes);

  Contiguous inputs_;
  Contiguous outputs_;
  std::vector<Tensor> tensors_;
  std::vector<Contiguous> parts_;
  std::vector<std::vector<const void*>> nodes_;
};

}  // namespace cpdcomm::torch_adapter
