#include "explicit_call.hpp"

namespace cpdcomm::torch_adapter {

std::vector<Tensor> tensors_of(const Contiguous& dense) {
  std::vector<Tensor> tensors;
  for (std::size_t i = 0; i < dense.size(); ++i) {
    tensors.push_back({.data = dense[i].data_ptr(),
                       .count = static_cast<std::size_t>(dense[i].numel()),
                       .type = data_type_of(dense[i])});
  }
  return tensors;
}

CallTensors::CallTensors(const ExplicitCall& call)
    : inputs_(call.outputs.empty() ? std::vector<at::Tensor>() : call.tensors),
      outputs_(call.outputs.empty() ? call.tensors : call.outputs),
      tensors_(tensors_of(outputs_)),
      nodes_(call.nodes.size()) {
  if (inputs_.size() != 0) read_from_inputs();
  for (std::size_t i = 0; i < call.nodes.size(); ++i) take_nodes(i, call.nodes[i]);
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    Tensor& tensor = tensors_[i];
    if (!call.wires.empty()) tensor.wire = call.wires[i];
    if (!call.residuals.empty()) tensor.residual = call.residuals[i].data_ptr<float>();
    if (!call.memories.empty()) tensor.memory = call.memories[i].get();
    tensor.input_exponent = call.input_exponent;
    tensor.output_exponent = call.output_exponent;
  }
}

void CallTensors::read_from_inputs() {
  for (std::size_t i = 0; i < tensors_.size(); ++i) {
    if (tensors_[i].count == 0) continue;  // no memory, and so no input
    tensors_[i].input = inputs_[i].data_ptr();
    tensors_[i].input_type = data_type_of(inputs_[i]);
  }
}

void CallTensors::take_nodes(std::size_t i, const std::vector<at::Tensor>& nodes) {
  const Contiguous& parts = parts_.emplace_back(nodes);
  for (std::size_t n = 0; n < parts.size(); ++n) nodes_[i].push_back(parts[n].data_ptr());
  tensors_[i].nodes = nodes_[i];
}

}  // namespace cpdcomm::torch_adapter
