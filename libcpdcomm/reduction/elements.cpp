#include "reduction/elements.hpp"

#include <algorithm>
#include <array>

#include "codec/arrays.hpp"
#include "numerics/cast.hpp"
#include "reduction/element.hpp"

namespace cpdcomm::reduction {
namespace {

using Room = std::array<float, 1024>;

std::uint32_t largest_of_piece(const Gradients& gradients, const void* source, std::size_t first,
                               std::size_t count, Room& room) {
  const float* values = read_elements(source, gradients.type, first, count, room.data());
  if (gradients.residual != nullptr) {
    std::copy_n(values, count, room.data());  // onto itself, where they were read into it
    codec::add(room.data(), gradients.residual + first, count);
    values = room.data();
  }
  return codec::largest_bits(values, count);
}

}  // namespace

const float* read_elements(const void* tensor, DataType type, std::size_t first, std::size_t count,
                           float* room) {
  if (type == DataType::fp32) return static_cast<const float*>(tensor) + first;
  codec_of(type).decode(static_cast<const std::byte*>(tensor) + first * size_of(type), count, room);
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
  if (gradients.type == DataType::fp32 && gradients.residual == nullptr) {
    std::uint32_t largest = 0;
    for (const void* source : gradients.sources) {
      const auto* values = static_cast<const float*>(source) + first;
      largest = std::max(largest, codec::largest_bits(values, count));
    }
    return largest;
  }
  Room room;
  std::uint32_t largest = 0;
  for (const void* source : gradients.sources) {
    for (std::size_t done = 0; done < count; done += room.size()) {
      const std::size_t now = std::min(room.size(), count - done);
      largest = std::max(largest, largest_of_piece(gradients, source, first + done, now, room));
    }
  }
  return largest;
}

}  // namespace cpdcomm::reduction
