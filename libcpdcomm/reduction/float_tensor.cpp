#include "reduction/float_tensor.hpp"

#include <algorithm>

#include "codec/arrays.hpp"
#include "numerics/scale_exponent.hpp"
#include "reduction/elements.hpp"

namespace cpdcomm::reduction {

std::int16_t exponent_of(const FloatTensor& tensor, const float* values, std::size_t count,
                         std::uint64_t world) {
  const std::int16_t exponent = numerics::scale_exponent(codec::largest_bits(values, count), world);
  if (exponent == numerics::kNothing || exponent == numerics::kNonFinite) return exponent;
  return static_cast<std::int16_t>(exponent + tensor.input_exponent);
}

const float* read_source(const FloatTensor& tensor, std::size_t source, std::size_t first,
                         std::size_t count, float* room) {
  const float* const values =
      read_elements(tensor.sources[source], tensor.input_type(), first, count, room);
  if (tensor.residual == nullptr) return values;
  if (values != room) std::copy_n(values, count, room);
  codec::add(room, tensor.residual + first, count);
  return room;
}

}  // namespace cpdcomm::reduction
