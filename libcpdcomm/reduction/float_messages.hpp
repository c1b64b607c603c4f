#pragma once

#include "reduction/blocks.hpp"
#include "reduction/scratch.hpp"

namespace cpdcomm::reduction {

/// How messages are laid out. Each range of a slice has its sums first, then its compensations
/// where it has any, then with `delayed` scaling the largest exponent that is in it.
class FloatMessages {
 public:
  /// @param compensated     partial sums are pairs
  /// @param parts_are_sums  so are the parts of ranks: they stand for several nodes or a host
  FloatMessages(bool compensated, bool parts_are_sums)
      : compensated_(compensated), parts_are_sums_(parts_are_sums) {}

  std::size_t bytes(const FloatTensor& tensor, std::size_t count, Content content) const;
  /// Whether a part across hosts is a pair.
  bool part_is_pair(const FloatTensor& tensor) const {
    // In another format inside a host parts are summed in FP32, and the sum is cast like one part.
    return compensated_ && parts_are_sums_ && !tensor.inner;
  }
  bool is_pair(const FloatTensor& tensor, Content content) const;

 private:
  bool compensated_;
  bool parts_are_sums_;
};

/// Where the sums of a block stand in the bytes of its range.
template <typename Byte>
codec::BasicPlace<Byte> place_of(const Block& block, Byte* bytes) {
  return {bytes, block.of_range, block.in_range};
}

/// A pair of a block, in the wire format.
void encode_pair(const Block& block, const PartialSum& sum, std::byte* out);
void decode_pair(const Block& block, const std::byte* in, PartialSum& sum);

/// sum += what is decoded
void decode_add(const codec::Codec& codec, codec::ConstPlace in, std::size_t count, float* sum);

/// FP32 values as they lie in a message; null if they are not FP32 or not aligned.
const float* values_in_place(const codec::Codec& codec, codec::ConstPlace in);

/// The largest exponent of a range's parts, at the end of its bytes.
void put_exponent(const FloatTensor& tensor, std::int16_t exponent, std::byte* end);
/// @return kNothing where messages carry none
std::int16_t get_exponent(const FloatTensor& tensor, const std::byte* end);

}  // namespace cpdcomm::reduction
