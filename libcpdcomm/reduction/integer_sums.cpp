#include "reduction/integer_sums.hpp"

#include <algorithm>
#include <atomic>

#include "codec/integers.hpp"
#include "codec/layout.hpp"

namespace cpdcomm::reduction {
namespace {

// With their sums so many values stay in the caches next to a core.
constexpr std::size_t kTile = 1024;

std::uint32_t parts_of(std::span<const Input> inputs) {
  std::uint32_t parts = 0;
  for (const Input& input : inputs) parts += static_cast<std::uint32_t>(input.parts);
  return parts;
}

}  // namespace

IntegerSums::IntegerSums(std::vector<IntegerTensor> tensors, std::size_t alignment)
    : tensors_(std::move(tensors)),
      alignment_(alignment),
      tile_(std::max<std::size_t>(1, kTile / alignment) * alignment),
      nodes_(tensors_.empty()
                 ? 1
                 : static_cast<std::uint32_t>(tensors_.front().gradients.sources.size())),
      non_finite_(tensors_.size(), 0) {}

std::size_t IntegerSums::bytes(std::size_t /*tensor*/, std::size_t count, Content content) const {
  if (content.payload == Payload::result) return codec::packed_bytes(count, result_width());
  const auto parts = static_cast<std::uint32_t>(content.parts) * nodes_;
  return codec::packed_bytes(count, width(parts));
}

IntegerSums::Scratch& IntegerSums::scratch() const {
  thread_local Scratch scratch;
  // The last to grow: where memory runs out in between, the next call tries again.
  if (scratch.decoded.size() < tile_) {
    scratch.sums.resize(tile_);
    scratch.integers.resize(tile_);
    scratch.values.resize(tile_);
    scratch.decoded.resize(tile_);
  }
  return scratch;
}

void IntegerSums::add_sum(const std::byte* in, std::uint32_t parts, std::size_t count,
                          std::int32_t* sums) const {
  codec::add_packed_integers(in, count, width(parts), sums);
}

void IntegerSums::pack_sum(const std::int32_t* sums, std::uint32_t parts, std::size_t count,
                           std::byte* out) const {
  codec::pack_integers(sums, count, width(parts), out);
}

template <typename F>
void IntegerSums::for_each_tile(const Range& range, F&& work) const {
  const IntegerTensor& tensor = tensors_[range.tensor];
  for (std::size_t done = 0; done < range.count; done += tile_) {
    const std::size_t count = std::min(tile_, range.count - done);
    work(Tile{tensor, range.tensor, range.first + done, count, done, range.count});
  }
}

void IntegerSums::sum_tile(const Tile& tile, const std::vector<Entering>& inputs,
                           std::int32_t* sums) {
  own_sum(tile, sums);
  for (const Entering& input : inputs) {
    const std::size_t before = codec::packed_bytes(tile.in_range, width(input.parts));
    add_sum(input.bytes + before, input.parts, tile.count, sums);
  }
}

/// Calls work(tile, sums) with the sums of this rank's own part and all inputs.
template <typename F>
void IntegerSums::for_each_sum(Slice slice, std::span<const Input> inputs,
                               std::span<const Input> more, F&& work) {
  Scratch& scratch = this->scratch();
  scratch.inputs.clear();
  for (const auto& list : {inputs, more}) {
    for (const Input& input : list) {
      scratch.inputs.push_back({input.bytes, static_cast<std::uint32_t>(input.parts) * nodes_});
    }
  }
  for (const Range& range : slice) {
    for_each_tile(range, [&](const Tile& tile) {
      sum_tile(tile, scratch.inputs, scratch.sums.data());
      work(tile, scratch.sums.data());
    });
    for (Entering& input : scratch.inputs) {
      input.bytes += codec::packed_bytes(range.count, width(input.parts));
    }
  }
}

void IntegerSums::encode_part(Slice slice, const Host& host, Leg /*leg*/, std::byte* out) {
  const std::uint32_t parts = (parts_of(host.inputs) + 1) * nodes_;
  for_each_sum(slice, host.inputs, {}, [&](const Tile& tile, const std::int32_t* sums) {
    pack_sum(sums, parts, tile.count, out);
    out += codec::packed_bytes(tile.count, width(parts));
  });
}

void IntegerSums::join(Slice slice, const Join& join, Content content, std::byte* out) {
  const std::uint32_t parts = (parts_of(join.inputs) + parts_of(join.host.inputs) + 1) * nodes_;
  const auto work = [&](const Tile& tile, std::int32_t* sums) {
    if (content.payload == Payload::result) {
      cast_result(tile, sums);
      codec::pack_integers(sums, tile.count, result_width(), out);
      out += codec::packed_bytes(tile.count, result_width());
    } else {
      pack_sum(sums, parts, tile.count, out);
      out += codec::packed_bytes(tile.count, width(parts));
    }
  };
  for_each_sum(slice, join.inputs, join.host.inputs, work);
}

void IntegerSums::keep(Slice slice, const Join& join) {
  for_each_sum(slice, join.inputs, join.host.inputs,
               [&](const Tile& tile, const std::int32_t* sums) { store(tile, sums, false); });
}

void IntegerSums::deliver(Slice slice, const std::byte* result) {
  std::int32_t* const sums = scratch().sums.data();
  for (const Range& range : slice) {
    for_each_tile(range, [&](const Tile& tile) {
      codec::unpack_integers(result, tile.count, result_width(), sums);
      result += codec::packed_bytes(tile.count, result_width());
      store(tile, sums, true);
    });
  }
}

void IntegerSums::store(const Tile& tile, const std::int32_t* sums, bool is_result) {
  const IntegerTensor& tensor = tile.tensor;
  Scratch& scratch = this->scratch();
  const bool in_place = tensor.type == DataType::fp32;
  float* const values =
      in_place ? static_cast<float*>(tensor.destination) + tile.first : scratch.values.data();
  bool non_finite = values_of(tile, sums, is_result, values);
  if (!in_place) {
    non_finite |= write_elements(values, tile.count, tensor.destination, tensor.type, tile.first,
                                 scratch.decoded.data());
  }
  if (non_finite) std::atomic_ref(non_finite_[tile.place]).store(1, std::memory_order_relaxed);
}

}  // namespace cpdcomm::reduction
