#include "reduction/shared_scales.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

#include "numerics/cast.hpp"
#include "numerics/scale_exponent.hpp"

namespace cpdcomm::reduction {
namespace {

/// Room for `size` bytes that a thread keeps.
std::byte* room_for(std::size_t size) {
  thread_local std::vector<std::byte> room;
  if (room.size() < size) room.resize(size);
  return room.data();
}

}  // namespace

std::size_t groups(std::size_t count, std::size_t group) {
  return group == 0 ? 1 : (count + group - 1) / group;
}

std::int16_t aps_exponent(std::uint32_t largest_bits, int input_exponent, std::uint64_t world) {
  const std::int16_t exponent = numerics::scale_exponent(largest_bits, world);
  const bool is_number = exponent != numerics::kNothing && exponent != numerics::kNonFinite;
  return static_cast<std::int16_t>(is_number ? exponent + input_exponent : exponent);
}

Words<std::int16_t> aps_words(std::uint64_t world) {
  const auto of = [world](std::uint32_t largest_bits, int input_exponent) {
    return aps_exponent(largest_bits, input_exponent, world);
  };
  return {of};
}

Words<std::uint32_t> exact_words(const codec::Exact& exact) {
  const auto of = [exact](std::uint32_t largest_bits, int input_exponent) {
    const float largest = numerics::float_of(largest_bits);
    return exact.word(numerics::bits_of(numerics::scale_value(largest, input_exponent)));
  };
  return {of, exact.word_bytes()};
}

Words<std::uint32_t> non_finite_words() {
  const auto of = [](std::uint32_t largest_bits, int /*input_exponent*/) {
    return largest_bits >= numerics::kInfinity ? 1u : 0u;
  };
  return {of, 1};
}

template <typename Word>
SharedScales<Word>::SharedScales(std::vector<ScaledTensor<Word>> tensors, Words<Word> words)
    : tensors_(std::move(tensors)), words_(std::move(words)) {
  for (const auto& tensor : tensors_) known_.emplace_back(tensor.words.size());
}

template <typename Word>
Word SharedScales<Word>::load(const std::byte* from) const {
  static_assert(std::endian::native == std::endian::little, "the lowest bytes come first");
  Word word{};
  std::memcpy(&word, from, words_.bytes);
  return word;
}

template <typename Word>
Word SharedScales<Word>::own_word(std::size_t number, std::size_t place) const {
  const ScaledTensor<Word>& tensor = tensors_[number];
  if (known_[number][place] != 0) return tensor.words[place];
  const Gradients& gradients = tensor.gradients;
  const std::size_t length = tensor.group == 0 ? gradients.count : tensor.group;
  const std::size_t first = place * length;
  const std::size_t count = std::min(length, gradients.count - first);
  return words_.of(largest_bits(gradients, first, count), gradients.input_exponent);
}

/// The MAX of this rank's own words and those of all inputs.
template <typename Word>
void SharedScales<Word>::join_words(Slice slice, std::span<const Input> inputs,
                                    std::span<const Input> more, std::byte* out) const {
  std::size_t offset = 0;
  for (const Range& range : slice) {
    for (std::size_t i = 0; i < range.count; ++i, offset += words_.bytes) {
      Word word = own_word(range.tensor, range.first + i);
      for (const Input& input : inputs) word = std::max(word, load(input.bytes + offset));
      for (const Input& input : more) word = std::max(word, load(input.bytes + offset));
      std::memcpy(out + offset, &word, words_.bytes);
    }
  }
}

template <typename Word>
void SharedScales<Word>::encode_part(Slice slice, const Host& host, Leg /*leg*/, std::byte* out) {
  for (const Range& range : slice) {
    for (std::size_t place = range.first; place < range.first + range.count; ++place) {
      tensors_[range.tensor].words[place] = own_word(range.tensor, place);
      known_[range.tensor][place] = 1;
    }
  }
  join_words(slice, host.inputs, {}, out);
}

template <typename Word>
void SharedScales<Word>::join(Slice slice, const Join& join, Content /*content*/, std::byte* out) {
  join_words(slice, join.inputs, join.host.inputs, out);
}

template <typename Word>
void SharedScales<Word>::keep(Slice slice, const Join& join) {
  std::size_t size = 0;
  for (const Range& range : slice) size += range.count * words_.bytes;
  std::byte* const words = room_for(size);
  join_words(slice, join.inputs, join.host.inputs, words);
  deliver(slice, words);
}

template <typename Word>
void SharedScales<Word>::deliver(Slice slice, const std::byte* result) {
  for (const Range& range : slice) {
    for (Word& word : tensors_[range.tensor].words.subspan(range.first, range.count)) {
      word = load(result);
      result += words_.bytes;
    }
    std::fill_n(known_[range.tensor].begin() + static_cast<long>(range.first), range.count, 0);
  }
}

template class SharedScales<std::int16_t>;
template class SharedScales<std::uint32_t>;

}  // namespace cpdcomm::reduction
