#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "codec/codec.hpp"
#include "cpdcomm/communicator.hpp"
#include "cpdcomm/options.hpp"
#include "reduction/reduction.hpp"

namespace cpdcomm::reduction {

/// A tensor of floats on its way over a wire format.
struct FloatTensor {
  std::vector<const void*> sources;  ///< this rank's part, or one per emulated node
  void* destination;
  std::size_t count;
  DataType type;
  codec::Codec codec = codec::codec_for(Format());
  /// One per `group` values (0: one for all), as agreed between the ranks; empty: no scaling.
  std::span<const std::int16_t> exponents = {};
  std::size_t group = 0;
  bool non_finite = false;  ///< whether anything but finite values was delivered
};

/// A partial sum of a tile: values that are worked on at once, never part of a format's block. What
/// `wide` and `rounded` keep is `sum` alone.
struct PartialSum {
  std::vector<float> sum;
  std::vector<float> compensation;
};

/// The sum of float tensors: how blocks are read, cast, encoded and delivered. How partial sums are
/// kept is left to `wide`, `rounded` and `kahan`.
class FloatReduction : public Reduction {
 public:
  /// @param cast_parts  parts enter as decode(encode(part)): always, but in `wide` by hops
  /// @param divisor     1, or for the average the number of ranks times emulated nodes
  FloatReduction(std::vector<FloatTensor> tensors, bool cast_parts, float divisor);

  std::size_t tensors() const override { return tensors_.size(); }
  std::size_t count(std::size_t tensor) const override { return tensors_[tensor].count; }
  std::size_t alignment(std::size_t tensor) const override {
    return tensors_[tensor].codec.alignment();
  }
  std::size_t bytes(std::size_t tensor, std::size_t count, Payload payload,
                    int parts) const override;
  void encode_part(Slice slice, std::byte* out) override;
  void join(Slice slice, std::span<const Input> inputs, std::size_t own_after, Payload payload,
            std::byte* out) override;
  void deliver(Slice slice, const std::byte* result) override;

  bool non_finite(std::size_t tensor) const { return tensors_[tensor].non_finite; }

 protected:
  /// The cast Q of a block of one tensor, after scaling.
  class Cast {
   public:
    Cast(const codec::Codec& codec, bool saturate) : codec_(codec), saturate_(saturate) {}
    void operator()(float* values, std::size_t count) const {
      codec_.round(values, count, {.saturate = saturate_}, values);
    }

   private:
    const codec::Codec& codec_;
    bool saturate_;
  };

  /// Whether a partial sum is a pair.
  virtual bool has_compensation() const { return false; }
  /// Adds one rank's or node's part.
  virtual void add(PartialSum& to, const float* part, std::size_t count,
                   const Cast& cast) const = 0;
  /// Joins a later partial sum.
  virtual void join(PartialSum& to, const PartialSum& later, std::size_t count,
                    const Cast& cast) const = 0;

 private:
  /// A run of values of one tensor with one exponent, at most a tile of them.
  struct Block {
    FloatTensor& tensor;
    std::size_t first;
    std::size_t count;
    std::size_t in_range;  ///< values of the range before this block
    std::size_t of_range;  ///< values of the range
    int shift;
    bool saturate;
    bool poisoned;  ///< some rank's values here are not finite
  };

  bool part_is_pair() const { return has_compensation() && emulated_; }
  template <typename F>
  void for_each_block(const Range& range, F&& work);
  const float* read_source(const Block& block, std::size_t node);
  void read_part(const Block& block);
  void enter_own(const Block& block);
  void enter(const Block& block, Payload payload, const std::byte* bytes, bool first);
  void encode_pair(const Block& block, const PartialSum& sum, std::byte* out) const;
  void decode_pair(const Block& block, const std::byte* in, PartialSum& sum) const;
  void deliver_block(const Block& block, const std::byte* result);
  void store(const Block& block);

  std::vector<FloatTensor> tensors_;
  bool cast_parts_;
  bool emulated_;
  float divisor_;

  // Scratch for one block.
  PartialSum total_;
  PartialSum own_;
  PartialSum received_;
  std::vector<float> values_;
  std::vector<float> source_;
  std::vector<const std::byte*> cursors_;
};

/// `accumulate` as it is asked for.
std::unique_ptr<FloatReduction> make_float_reduction(Accumulate accumulate,
                                                     std::vector<FloatTensor> tensors,
                                                     bool parts_travel, float divisor);

}  // namespace cpdcomm::reduction
