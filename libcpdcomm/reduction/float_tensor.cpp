#include "reduction/float_tensor.hpp"

#include <algorithm>
#include <array>

#include "codec/arrays.hpp"
#include "numerics/scale_exponent.hpp"
#include "reduction/element.hpp"

namespace cpdcomm::reduction {

std::int16_t exponent_of(const FloatTensor& tensor, const float* values, std::size_t count,
                         std::uint64_t world) {
  const std::int16_t exponent = numerics::scale_exponent(codec::largest_bits(values, count), world);
  if (exponent == numerics::kNothing || exponent == numerics::kNonFinite) return exponent;
  return static_cast<std::int16_t>(exponent + tensor.input_exponent);
}

std::int16_t exponent_of_sources(const FloatTensor& tensor, std::size_t first, std::size_t count,
                                 std::uint64_t world) {
  std::array<float, 1024> room;
  std::int16_t largest = numerics::kNothing;
  for (std::size_t source = 0; source < tensor.sources.size(); ++source) {
    for (std::size_t done = 0; done < count; done += room.size()) {
      const std::size_t now = std::min(room.size(), count - done);
      const float* const values = read_source(tensor, source, first + done, now, room.data());
      largest = std::max(largest, exponent_of(tensor, values, now, world));
    }
  }
  return largest;
}

const float* read_source(const FloatTensor& tensor, std::size_t source, std::size_t first,
                         std::size_t count, float* room) {
  const void* const from = tensor.sources[source];
  const DataType type = tensor.input_type();
  const float* values = room;
  if (type == DataType::fp32) {
    values = static_cast<const float*>(from) + first;
  } else {
    codec_of(type).decode(static_cast<const std::byte*>(from) + first * size_of(type), count, room);
  }
  if (tensor.residual == nullptr) return values;
  if (values != room) std::copy_n(values, count, room);
  codec::add(room, tensor.residual + first, count);
  return room;
}

}  // namespace cpdcomm::reduction
