#pragma once

#include <compare>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "collective/slices.hpp"

namespace cpdcomm::collective {

/// Cuts the tensors of a call into chunks, and chunks into slices of at most so many bytes.
///
/// Tensors lie one after the other in a line of wire bytes; cuts fall on multiples of each tensor's
/// alignment, so they change no bit. Every rank computes the same cuts. Where the values between
/// two cuts alone take more bytes than a slice should, they are a slice.
class Layout final : public Slices {
 public:
  /// Chunks of equal bytes.
  /// @param parts      the most parts that a message of the call carries
  /// @param multiples  of so many values are cuts of each tensor, besides its alignment; empty: any
  static Layout balanced(const reduction::Reduction& reduction, int parts, int chunks,
                         std::size_t segment_bytes, std::span<const std::size_t> multiples = {});
  /// Chunk c is tensor c, or the c-th so many tensors.
  /// @param parts  as of balanced()
  static Layout by_tensor(const reduction::Reduction& reduction, int parts,
                          std::size_t segment_bytes, std::size_t tensors_per_chunk = 1);

  std::size_t segments() const override { return segments_; }
  void slice(std::size_t chunk, std::size_t segment,
             std::vector<reduction::Range>& ranges) const override;

 private:
  /// A place between two values: `index` values of `tensor` lie before it.
  struct Cut {
    std::size_t tensor;
    std::size_t index;

    friend auto operator<=>(const Cut&, const Cut&) = default;
  };
  struct Line {
    std::size_t begin;  // byte where the tensor starts
    std::size_t count;
    std::size_t alignment;
    std::size_t aligned_bytes;  // of `alignment` values more
  };

  Layout(const reduction::Reduction& reduction, int parts, std::size_t segment_bytes,
         std::span<const std::size_t> multiples);
  Cut cut(std::size_t byte) const;
  Cut next(Cut at) const;
  void even_out(std::size_t chunks);
  void make_room(std::size_t chunks);
  void add_chunk(std::size_t first_byte, std::size_t end_byte);

  std::vector<Line> lines_;
  std::vector<Cut> cuts_;               // of every chunk: its begin and the end of each slice
  std::vector<std::size_t> first_cut_;  // of a chunk among cuts_
  std::size_t bytes_ = 0;
  std::size_t segment_bytes_;
  std::size_t uncut_ = 0;  // the most bytes between two places where a cut may be
  std::size_t segments_ = 1;
};

/// Whether the values between two cuts of each tensor fit into a message of any payload.
/// @param parts  the most parts that a message carries
bool cuts_fit_a_message(const reduction::Reduction& reduction, int parts);
/// The same for whole groups of so many values. However few values a tensor has, what is asked for
/// decides, so that a tensor that is less than one group is still shared out among the ranks.
bool groups_fit_a_message(const reduction::Reduction& reduction, int parts,
                          std::span<const std::size_t> groups);

}  // namespace cpdcomm::collective
