#include "explicit_call.hpp"

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>

#include "cpdcomm/error.hpp"

namespace cpdcomm::torch_adapter {
namespace {

/// Ends in bytes, so that the real view of a complex buffer has them, too.
struct Noted {
  c10::weak_intrusive_ptr<c10::StorageImpl> memory;
  const void* begin;
  std::vector<std::size_t> ends;
};

struct Notes {
  std::mutex mutex;
  std::map<const c10::StorageImpl*, Noted> all;  // a weak pointer keeps its address from others
};

Notes& notes() {
  static auto* const kept = new Notes;  // outlives every thread
  return *kept;
}

c10::StorageImpl* memory_of(const at::Tensor& tensor) {
  return tensor.storage().unsafeGetStorageImpl();
}

/// In bytes; none unless they are those of all of the tensor.
std::vector<std::size_t> noted_ends(const at::Tensor& tensor) {
  const std::lock_guard lock(notes().mutex);
  const auto found = notes().all.find(memory_of(tensor));
  if (found == notes().all.end()) return {};
  const Noted& noted = found->second;
  const bool is_whole = noted.begin == tensor.const_data_ptr() && tensor.is_contiguous() &&
                        noted.ends.back() == tensor.nbytes();
  return is_whole ? noted.ends : std::vector<std::size_t>();
}

void append_parts(std::vector<Tensor>& parts, const Tensor& whole, std::size_t value_bytes,
                  const std::vector<std::size_t>& ends) {
  std::size_t begin = 0;
  for (const std::size_t end : ends) {
    Tensor& part = parts.emplace_back(whole);
    part.data = static_cast<std::byte*>(whole.data) + begin;
    part.count = (end - begin) / value_bytes;
    begin = end;
  }
}

}  // namespace

void note_ends(const at::Tensor& flat, const std::vector<std::size_t>& ends) {
  if (ends.empty() || !std::ranges::is_sorted(ends) ||
      ends.back() != static_cast<std::size_t>(flat.numel())) {
    throw Error(ErrorCode::invalid_argument,
                "ends must ascend to the buffer's size, " + std::to_string(flat.numel()));
  }
  Noted noted{flat.storage().getWeakStorageImpl(), flat.const_data_ptr(), ends};
  for (std::size_t& end : noted.ends) end *= flat.element_size();
  const std::lock_guard lock(notes().mutex);
  std::erase_if(notes().all, [](const auto& entry) { return entry.second.memory.expired(); });
  notes().all.insert_or_assign(memory_of(flat), std::move(noted));
}

std::vector<Tensor> noted_parts_of(const std::vector<at::Tensor>& tensors,
                                   const Contiguous& dense) {
  std::vector<Tensor> parts;
  const std::vector<Tensor> whole = tensors_of(dense);
  for (std::size_t i = 0; i < whole.size(); ++i) {
    const std::vector<std::size_t> ends = noted_ends(tensors[i]);
    if (ends.empty()) parts.push_back(whole[i]);
    append_parts(parts, whole[i], dense[i].element_size(), ends);
  }
  return parts;
}

std::vector<Tensor> tensors_of(const Contiguous& dense) {
  std::vector<Tensor> tensors;
  for (std::size_t i = 0; i < dense.size(); ++i) tensors.push_back(tensor_of(dense[i]));
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
