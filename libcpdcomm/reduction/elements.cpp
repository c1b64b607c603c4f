#include "reduction/elements.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "codec/arrays.hpp"
#include "numerics/cast.hpp"
#include "reduction/element.hpp"

namespace cpdcomm::reduction {

const float* read_elements(const void* tensor, DataType type, std::size_t first, std::size_t count,
                           float* room) {
  if (type == DataType::fp32) return static_cast<const float*>(tensor) + first;
  codec_of(type).decode(static_cast<const std::byte*>(tensor) + first * size_of(type), count, room);
  return room;
}

const float* read_elements(const void* tensor, DataType type, const float* residual,
                           std::size_t first, std::size_t count, float* room) {
  const float* const values = read_elements(tensor, type, first, count, room);
  if (residual == nullptr) return values;
  if (values != room) std::copy_n(values, count, room);
  codec::add(room, residual + first, count);
  return room;
}

bool write_elements(const float* values, std::size_t count, void* tensor, DataType type,
                    std::size_t first, float* room) {
  std::byte* const to = static_cast<std::byte*>(tensor) + first * size_of(type);
  const codec::Codec codec = codec_of(type);
  codec.encode(values, count, {}, to);
  codec.decode(to, count, room);
  return codec::largest_bits(room, count) >= numerics::kInfinity;
}

std::uint32_t largest_bits(const Gradients& gradients, std::size_t first, std::size_t count) {
  std::array<float, 1024> room;
  const bool in_place = gradients.type == DataType::fp32 && gradients.residual == nullptr;
  const std::size_t piece = in_place ? count : room.size();
  std::uint32_t largest = 0;
  for (const void* source : gradients.sources) {
    for (std::size_t done = 0; done < count; done += piece) {
      const std::size_t now = std::min(piece, count - done);
      const float* const values =
          read_elements(source, gradients.type, gradients.residual, first + done, now, room.data());
      largest = std::max(largest, codec::largest_bits(values, now));
    }
  }
  return largest;
}

bool holds_non_finite(const void* tensor, DataType type, std::size_t count) {
  switch (type) {
    case DataType::fp64: {
      const auto* values = static_cast<const double*>(tensor);
      bool found = false;
      for (std::size_t i = 0; i < count; ++i) found |= !std::isfinite(values[i]);
      return found;
    }
    case DataType::fp32:
      return codec::largest_bits(static_cast<const float*>(tensor), count) >= numerics::kInfinity;
    case DataType::bf16:
    case DataType::fp16:
      return largest_bits({{tensor}, count, type}, 0, count) >= numerics::kInfinity;
    default:
      return false;
  }
}

}  // namespace cpdcomm::reduction
