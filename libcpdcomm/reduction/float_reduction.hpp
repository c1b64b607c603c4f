#pragma once

#include <cstdint>
#include <memory>
#include <optional>
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
  std::uint32_t place = 0;  ///< in the call, which is part of what names its random words
};

/// A partial sum of a tile: values that are worked on at once, never part of a format's block. What
/// `wide` and `rounded` keep is `sum` alone.
struct PartialSum {
  std::vector<float> sum;
  std::vector<float> compensation;
};

/// What one thread needs while it works on a tile; kept, so that steady state allocates nothing.
struct Scratch {
  PartialSum total;
  PartialSum own;
  PartialSum received;
  std::vector<float> values;
  std::vector<float> source;
  std::vector<const std::byte*> cursors;

  /// This thread's, with room for a tile of so many values.
  static Scratch& of_this_thread(std::size_t tile);
};

/// The sum of float tensors: how blocks are read, cast, encoded and delivered. How partial sums are
/// kept is left to `wide`, `rounded` and `kahan`.
class FloatReduction : public Reduction {
 public:
  /// @param cast_parts  parts enter as decode(encode(part)): always, but in `wide` by hops
  /// @param divisor     1, or for the average the number of ranks times emulated nodes
  /// @param draws       seed, step and this rank, where casts round stochastically
  FloatReduction(std::vector<FloatTensor> tensors, bool cast_parts, float divisor,
                 std::optional<RandomStream> draws);

  std::size_t tensors() const override { return tensors_.size(); }
  std::size_t count(std::size_t tensor) const override { return tensors_[tensor].count; }
  std::size_t alignment(std::size_t tensor) const override {
    return tensors_[tensor].codec.alignment();
  }
  std::size_t bytes(std::size_t tensor, std::size_t count, Content content) const override;
  void encode_part(Slice slice, const Host& host, Leg leg, std::byte* out) override;
  void join(Slice slice, const Join& join, Content content, std::byte* out) override;
  void keep(Slice slice, const Join& join) override;
  void deliver(Slice slice, const std::byte* result) override;

  /// Whether anything but finite values was delivered.
  bool non_finite(std::size_t tensor) const { return non_finite_[tensor] != 0; }

 protected:
  /// The cast Q of a block of one tensor, after scaling.
  class Cast {
   public:
    Cast(const codec::Codec& codec, const CastOptions& options)
        : codec_(codec), options_(options) {}
    void operator()(float* values, std::size_t count) const {
      codec_.round(values, count, options_, values);
    }

   private:
    const codec::Codec& codec_;
    CastOptions options_;
  };

  /// Whether a partial sum is a pair.
  virtual bool has_compensation() const { return false; }
  /// Whether to join is no more than to add.
  virtual bool only_adds() const { return false; }
  /// Adds one rank's or node's part.
  virtual void add(PartialSum& to, const float* part, std::size_t count,
                   const Cast& cast) const = 0;
  /// Joins a later partial sum.
  virtual void join(PartialSum& to, const PartialSum& later, std::size_t count,
                    const Cast& cast) const = 0;

 private:
  /// A run of values of one tensor with one exponent, at most a tile of them.
  struct Block {
    std::size_t place;  ///< of the tensor
    const FloatTensor& tensor;
    std::size_t first;
    std::size_t count;
    std::size_t in_range;  ///< values of the range before this block
    std::size_t of_range;  ///< values of the range
    int shift;
    bool saturate;
    bool poisoned;  ///< some rank's values here are not finite
  };

  static constexpr std::uint16_t kResultPhase = 0xffff;

  bool part_is_pair() const { return has_compensation() && emulated_; }
  std::size_t nodes() const { return emulated_ ? tensors_.front().sources.size() : 1; }
  Scratch& scratch() const { return Scratch::of_this_thread(tile_); }
  CastOptions options_of(const Block& block, std::size_t node, std::size_t phase) const;
  CastOptions cast_of_part(const Block& block, std::size_t node) const;
  CastOptions cast_of_sum(const Block& block, std::size_t node, std::size_t parts) const;
  template <typename F>
  void for_each_block(const Range& range, F&& work) const;
  template <typename F>
  void join_each_block(Slice slice, const Join& join, F&& work) const;
  const float* read_source(const Block& block, std::size_t node, Scratch& scratch) const;
  void clear(PartialSum& sum, std::size_t count) const;
  void read_part(const Block& block, Scratch& scratch) const;
  void enter_own(const Block& block, std::size_t held, Scratch& scratch) const;
  void enter(const Block& block, const Input& input, const std::byte* bytes, bool first,
             std::size_t held, Scratch& scratch) const;
  std::size_t join_block(const Block& block, const Join& join, Scratch& scratch) const;
  void encode_pair(const Block& block, const PartialSum& sum, std::byte* out) const;
  void decode_pair(const Block& block, const std::byte* in, PartialSum& sum) const;
  float* room_for_values(const Block& block, Scratch& scratch) const;
  void store(const Block& block, float* values, Scratch& scratch);
  void note_non_finite(const Block& block);

  std::vector<FloatTensor> tensors_;
  bool cast_parts_;
  bool emulated_;
  float divisor_;
  std::optional<RandomStream> draws_;
  std::size_t tile_ = 0;                  // the largest of all tensors
  std::vector<std::uint8_t> non_finite_;  // per tensor; threads only ever set them
};

/// `accumulate` as it is asked for.
std::unique_ptr<FloatReduction> make_float_reduction(Accumulate accumulate,
                                                     std::vector<FloatTensor> tensors,
                                                     bool parts_travel, float divisor,
                                                     std::optional<RandomStream> draws = {});

}  // namespace cpdcomm::reduction
