#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "cpdcomm/options.hpp"
#include "reduction/blocks.hpp"
#include "reduction/casts.hpp"
#include "reduction/delivery.hpp"
#include "reduction/float_messages.hpp"
#include "reduction/float_tensor.hpp"
#include "reduction/host_part.hpp"
#include "reduction/own_part.hpp"
#include "reduction/reduction.hpp"
#include "reduction/scratch.hpp"
#include "reduction/summation.hpp"

namespace cpdcomm::reduction {

/// The sum of float tensors. What a rank's and a host's part are, how messages are laid out and how
/// results are put into the tensors is told elsewhere; this joins and encodes.
class FloatReduction : public Reduction {
 public:
  /// See make_float_reduction.
  FloatReduction(const Summation& summation, std::vector<FloatTensor> tensors, bool cast_parts,
                 float divisor, std::optional<RandomStream> draws,
                 const std::vector<std::uint32_t>& host_ranks);
  FloatReduction(const FloatReduction&) = delete;  // its members refer to each other
  FloatReduction& operator=(const FloatReduction&) = delete;

  std::size_t tensors() const override { return blocks_.tensors().size(); }
  std::size_t count(std::size_t tensor) const override { return blocks_.tensors()[tensor].count; }
  std::size_t alignment(std::size_t tensor) const override { return blocks_.alignment(tensor); }
  std::size_t bytes(std::size_t tensor, std::size_t count, Content content) const override {
    return messages_.bytes(blocks_.tensors()[tensor], count, content);
  }
  void encode_part(Slice slice, const Host& host, Leg leg, std::byte* out) override;
  void join(Slice slice, const Join& join, Content content, std::byte* out) override;
  /// Not with `delayed` scaling, whose exponents come with the results of all other ranks.
  void keep(Slice slice, const Join& join) override;
  void deliver(Slice slice, const std::byte* result) override;

  /// Once, after all has been delivered: a tensor of `delayed` scaling in which a rank met an Inf
  /// or NaN becomes NaN.
  void finish() { delivery_.finish(); }
  /// Whether anything but finite values was delivered.
  bool non_finite(std::size_t tensor) const { return delivery_.non_finite(tensor); }
  /// Of `delayed` scaling, after finish(): the exponent that this call should have had (kNothing
  /// and kNonFinite as ever), the same on all ranks.
  std::int16_t largest_exponent(std::size_t tensor) const {
    return delivery_.largest_exponent(tensor);
  }
  /// Of `delayed` scaling: whether that is above the one that was used, so that values may have
  /// saturated.
  bool saturated(std::size_t tensor) const { return delivery_.saturated(tensor); }

 private:
  Scratch& scratch() const { return Scratch::of_this_thread(blocks_.tile()); }
  const FloatTensor& tensor(const Range& range) const { return blocks_.tensors()[range.tensor]; }
  void encode_block(const Block& block, const Host& host, Leg leg, std::byte* out,
                    Scratch& scratch) const;
  void enter_own(const Block& block, const Host& host, std::size_t held, Scratch& scratch) const;
  void go_on(const Block& block, const std::byte* bytes, Scratch& scratch) const;
  void enter(const Block& block, const Input& input, const std::byte* bytes, std::size_t held,
             Scratch& scratch) const;
  std::size_t join_block(const Block& block, const Join& join, Scratch& scratch) const;
  void pass(const Range& range, std::span<const Input> inputs, Leg leg,
            std::vector<const std::byte*>& cursors, Scratch& scratch) const;
  template <typename Work, typename Done>
  void join_each(Slice slice, const Join& join, Work&& work, Done&& done) const;

  const Summation& summation_;
  Blocks blocks_;
  bool cast_parts_;
  std::size_t nodes_;
  FloatMessages messages_;
  Casts casts_;
  OwnPart own_;
  HostPart host_;
  Delivery delivery_;
};

/// The sum of float tensors with `accumulate` as it is asked for.
/// @param parts_travel  by the schedule; then parts enter as decode(encode(part)), as always but in
///                      `wide` by hops
/// @param divisor       1, or for the average the number of ranks times emulated nodes
/// @param draws         seed, step and this rank, where casts round stochastically
/// @param host_ranks    of `hierarchical`: the ranks of this host in the order of joining, this one
///                      included; empty (on all ranks) without hosts
/// @throws Error invalid_argument for another accumulate; unsupported as check_inner
std::unique_ptr<FloatReduction> make_float_reduction(
    Accumulate accumulate, std::vector<FloatTensor> tensors, bool parts_travel, float divisor,
    std::optional<RandomStream> draws = {}, const std::vector<std::uint32_t>& host_ranks = {});

}  // namespace cpdcomm::reduction
