#include "codec/integers.hpp"

#include "codec/layout.hpp"
#include "codec/plain/bit_stream.hpp"
#include "codec/plain/blocks.hpp"

namespace cpdcomm::codec::plain {

void pack_integers(const std::int32_t* in, std::size_t count, int width, std::byte* out) {
  BitWriter writer(out, width);
  for (std::size_t i = 0; i < count; ++i) writer.put(to_code(in[i], width));
  writer.finish();
}

void unpack_integers(const std::byte* in, std::size_t count, int width, std::int32_t* out) {
  BitReader reader(in, packed_bytes(count, width), width);
  for (std::size_t i = 0; i < count; ++i) out[i] = from_code(reader.get(), width);
}

void add_packed_integers(const std::byte* in, std::size_t count, int width, std::int32_t* sums) {
  BitReader reader(in, packed_bytes(count, width), width);
  for (std::size_t i = 0; i < count; ++i) sums[i] += from_code(reader.get(), width);
}

}  // namespace cpdcomm::codec::plain
