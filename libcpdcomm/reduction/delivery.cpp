#include "reduction/delivery.hpp"

#include <algorithm>
#include <atomic>

#include "codec/arrays.hpp"
#include "reduction/elements.hpp"
#include "reduction/float_messages.hpp"

namespace cpdcomm::reduction {

Delivery::Delivery(const Blocks& blocks, float divisor)
    : blocks_(blocks),
      divisor_(divisor),
      non_finite_(blocks.tensors().size(), 0),
      largest_(blocks.tensors().size(), numerics::kNothing) {}

void Delivery::note_non_finite(const Block& block) {
  std::atomic_ref(non_finite_[block.place]).store(1, std::memory_order_relaxed);
}

void Delivery::see_exponent(std::size_t tensor, std::int16_t exponent) {
  std::atomic_ref largest(largest_[tensor]);
  std::int16_t seen = largest.load(std::memory_order_relaxed);
  while (seen < exponent &&
         !largest.compare_exchange_weak(seen, exponent, std::memory_order_relaxed)) {
  }
}

/// Where a block's FP32 values are worked on: in their place if that is FP32.
float* Delivery::room_for_values(const Block& block, Scratch& scratch) const {
  if (block.tensor.type != DataType::fp32) return scratch.values.data();
  return static_cast<float*>(block.tensor.destination) + block.first;
}

void Delivery::store(const Block& block, const float* sum, Scratch& scratch) {
  float* const values = room_for_values(block, scratch);
  if (block.is_poisoned()) {
    std::fill_n(values, block.count, numerics::float_of(numerics::kQuietNan));
    note_non_finite(block);
  } else {
    const int shift = block.wire().shift - block.tensor.output_exponent;
    if (codec::finish(sum, block.count, shift, divisor_, values)) note_non_finite(block);
  }
  const FloatTensor& tensor = block.tensor;
  if (tensor.type == DataType::fp32) return;
  // In an FP16 or BF16 tensor a sum can overflow where FP32 does not: what arrives is judged.
  if (write_elements(values, block.count, tensor.destination, tensor.type, block.first,
                     scratch.source.data())) {
    note_non_finite(block);
  }
}

void Delivery::deliver(const Block& block, const std::byte* result, Scratch& scratch) {
  const codec::Codec& codec = block.tensor.codec;
  const codec::ConstPlace place = place_of(block, result);
  const float* sum = values_in_place(codec, place);
  if (sum == nullptr) {
    float* const room = room_for_values(block, scratch);
    codec.decode(place, block.count, room);
    sum = room;
  }
  store(block, sum, scratch);
}

void Delivery::finish() {
  Scratch& scratch = Scratch::of_this_thread(blocks_.tile());
  for (std::size_t tensor = 0; tensor < largest_.size(); ++tensor) {
    if (largest_[tensor] != numerics::kNonFinite) continue;
    blocks_.for_each({tensor, 0, blocks_.tensors()[tensor].count}, [&](Block block) {
      block.exponent = numerics::kNonFinite;
      store(block, nullptr, scratch);
    });
  }
}

bool Delivery::saturated(std::size_t tensor) const {
  const FloatTensor& used = blocks_.tensors()[tensor];
  const std::int16_t largest = largest_[tensor];
  if (largest == numerics::kNothing || largest == numerics::kNonFinite) return false;
  const std::int16_t exponent = used.exponents.empty() ? numerics::kNothing : used.exponents[0];
  const int emax = used.codec.emax();
  return largest > emax - numerics::shift_for(exponent, emax);
}

}  // namespace cpdcomm::reduction
