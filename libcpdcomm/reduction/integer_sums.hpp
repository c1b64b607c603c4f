#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "reduction/elements.hpp"
#include "reduction/reduction.hpp"

namespace cpdcomm::reduction {

/// A tensor whose sum is kept in integers.
struct IntegerTensor {
  Gradients gradients;
  void* destination;
  DataType type;  ///< of the destination
  /// As SharedScales has agreed on them, at the latest when a block is encoded: one per block
  /// (`exact`) or for the whole tensor (`majority`).
  std::span<const std::uint32_t> words;
  int output_exponent = 0;  ///< the power of two that the sum is multiplied by
  std::uint32_t place = 0;  ///< in the call, which is part of what names its random words
};

/// Sums that are kept in integers, which lose nothing: their bits depend neither on the order in
/// which parts join nor on how they are cut. They travel in as many bits as the parts that are in
/// them can need, inside a host and across hosts alike: there is no other format inside a host.
///
/// What the integers mean is left to `exact` and `majority`. A part is that of a rank and all its
/// emulated nodes; "parts" below counts ranks times nodes.
class IntegerSums : public Reduction {
 public:
  std::size_t tensors() const override { return tensors_.size(); }
  std::size_t count(std::size_t tensor) const override { return tensors_[tensor].gradients.count; }
  std::size_t alignment(std::size_t /*tensor*/) const override { return alignment_; }
  std::size_t bytes(std::size_t tensor, std::size_t count, Content content) const override;
  void encode_part(Slice slice, const Host& host, Leg leg, std::byte* out) override;
  void join(Slice slice, const Join& join, Content content, std::byte* out) override;
  void keep(Slice slice, const Join& join) override;
  void deliver(Slice slice, const std::byte* result) override;

  /// Whether anything but finite values was delivered.
  bool non_finite(std::size_t tensor) const { return non_finite_[tensor] != 0; }

 protected:
  /// Values of one tensor that are worked on at once: whole blocks, or the rest of the range.
  struct Tile {
    const IntegerTensor& tensor;
    std::size_t place;  ///< of the tensor
    std::size_t first;
    std::size_t count;
    std::size_t in_range;  ///< values of the range before this tile
    std::size_t of_range;  ///< values of the range
  };

  /// A sum that enters a join.
  struct Entering {
    const std::byte* bytes;  ///< of the range that is worked on
    std::uint32_t parts;
  };

  /// What a thread needs while it works on a tile; kept, so that steady state allocates nothing.
  struct Scratch {
    std::vector<std::int32_t> sums;
    std::vector<std::int32_t> integers;
    std::vector<float> values;
    std::vector<float> decoded;
    std::vector<Entering> inputs;
  };

  /// @param alignment  values between which a tensor may be cut
  IntegerSums(std::vector<IntegerTensor> tensors, std::size_t alignment);

  /// Bits of one value in a sum of `parts`, and in a result.
  virtual int width(std::uint32_t parts) const = 0;
  virtual int result_width() const = 0;
  /// Writes the sum of this rank's own parts.
  virtual void own_sum(const Tile& tile, std::int32_t* sums) = 0;
  /// A message's sum to integers that are added, and back.
  virtual void add_sum(const std::byte* in, std::uint32_t parts, std::size_t count,
                       std::int32_t* sums) const;
  virtual void pack_sum(const std::int32_t* sums, std::uint32_t parts, std::size_t count,
                        std::byte* out) const;
  /// The sum of all parts, in its place, to what travels back in result_width() bits.
  virtual void cast_result(const Tile& tile, std::int32_t* sums) const = 0;
  /// The FP32 values of a sum of all parts, or of a result, after output_exponent and the average.
  /// @return whether any is not finite
  virtual bool values_of(const Tile& tile, const std::int32_t* sums, bool is_result,
                         float* out) const = 0;

  std::uint32_t nodes() const { return nodes_; }
  Scratch& scratch() const;

 private:
  template <typename F>
  void for_each_tile(const Range& range, F&& work) const;
  template <typename F>
  void for_each_sum(Slice slice, std::span<const Input> inputs, std::span<const Input> more,
                    F&& work);
  void sum_tile(const Tile& tile, const std::vector<Entering>& inputs, std::int32_t* sums);
  void store(const Tile& tile, const std::int32_t* sums, bool is_result);

  std::vector<IntegerTensor> tensors_;
  std::size_t alignment_;
  std::size_t tile_;
  std::uint32_t nodes_;
  std::vector<std::uint8_t> non_finite_;  // per tensor; threads only ever set them
};

}  // namespace cpdcomm::reduction
