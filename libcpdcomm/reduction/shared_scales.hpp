#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "codec/exact.hpp"
#include "reduction/elements.hpp"
#include "reduction/reduction.hpp"

namespace cpdcomm::reduction {

/// Words of `count` values, of which `group` share one (0: all do).
std::size_t groups(std::size_t count, std::size_t group);

/// A tensor whose ranks agree on scales.
template <typename Word>
struct ScaledTensor {
  Gradients gradients;
  std::size_t group = 0;  ///< values that share a word; 0: all
  std::span<Word> words;  ///< groups(count, group) of them: where the agreed ones go
};

/// What words say, and how they travel.
template <typename Word>
struct Words {
  /// A group's word, from the FP32 bits of its largest magnitude and the power of two that the
  /// values are multiplied by. Of two words the larger must be that of both groups.
  std::function<Word(std::uint32_t largest_bits, int input_exponent)> of;
  std::size_t bytes = sizeof(Word);  ///< that travel, the lowest; fewer where words are never more
};

/// E of APS: ceil(log2(largest magnitude * 2^input_exponent * world)), or kNothing, or kNonFinite.
std::int16_t aps_exponent(std::uint32_t largest_bits, int input_exponent, std::uint64_t world);

/// Of APS, for a sum of `world` parts: E of the values after the power of two.
Words<std::int16_t> aps_words(std::uint64_t world);
/// Of `exact`: of the values after the power of two, in FP32.
Words<std::uint32_t> exact_words(const codec::Exact& exact);
/// Of `majority`: 1 where something is not finite, else 0.
Words<std::uint32_t> non_finite_words();

/// What goes ahead of a sum on scales that all ranks share: the MAX of every group's word. To the
/// engine it is a sum of tensors that have groups for values, so that the words of one segment
/// travel while another segment is summed. The order of the ranks plays no part.
///
/// A rank's own words are worked out from its gradients where they are asked for, not before: the
/// gradients are then in the caches when the sum encodes them.
template <typename Word>
class SharedScales final : public Reduction {
 public:
  SharedScales(std::vector<ScaledTensor<Word>> tensors, Words<Word> words);

  std::size_t tensors() const override { return tensors_.size(); }
  std::size_t count(std::size_t tensor) const override { return tensors_[tensor].words.size(); }
  std::size_t alignment(std::size_t /*tensor*/) const override { return 1; }
  std::size_t bytes(std::size_t /*tensor*/, std::size_t count, Content /*content*/) const override {
    return count * words_.bytes;
  }
  void encode_part(Slice slice, const Host& host, Leg leg, std::byte* out) override;
  void join(Slice slice, const Join& join, Content content, std::byte* out) override;
  void keep(Slice slice, const Join& join) override;
  void deliver(Slice slice, const std::byte* result) override;

 private:
  Word load(const std::byte* from) const;
  Word own_word(std::size_t tensor, std::size_t place) const;
  void join_words(Slice slice, std::span<const Input> inputs, std::span<const Input> more,
                  std::byte* out) const;

  std::vector<ScaledTensor<Word>> tensors_;
  Words<Word> words_;
  // By tensor and group, whether a tensor's words hold this rank's own, which has been sent. Who
  // sends a part to all and joins all parts then reads its gradients once. A group belongs to one
  // segment, and a segment to one thread at a time.
  std::vector<std::vector<std::uint8_t>> known_;
};

extern template class SharedScales<std::int16_t>;
extern template class SharedScales<std::uint32_t>;

}  // namespace cpdcomm::reduction
