#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <vector>

#include "cpdcomm/geometry.hpp"

namespace cpdcomm::codec {

/// A geometry on a shape as an index map. Every geometry cuts the tensor into boxes, so a dimension
/// is cut into intervals, and a block is one interval of each. Dimensions that are one in memory
/// and in the order of the blocks are joined: what is left has the longest runs there are.
///
/// Neighbouring blocks make a panel, as many as give it contiguous pieces of some length: a tensor
/// is read panel by panel, without wasting what a cache line brings where blocks interleave.
class Panels {
 public:
  /// Blocks of a panel at most, so that what is known of them fits on the stack.
  static constexpr std::size_t kMostBlocks = 256;

  Panels(std::span<const std::size_t> shape, const Geometry& geometry);

  std::size_t values() const { return values_; }
  std::size_t blocks() const { return blocks_; }
  std::size_t count() const { return panels_; }
  /// Of a flat geometry, the values of a panel. There must be one.
  std::size_t flat_panel() const { return dimensions_[0].panel * dimensions_[0].box; }

 private:
  friend class PanelWalk;

  struct Dimension {
    std::size_t size;          ///< indices
    std::size_t box;           ///< indices of a block
    std::size_t block_stride;  ///< between neighbouring blocks, in block order
    std::size_t stride = 1;    ///< between neighbouring indices, in values
    std::size_t panel = 1;     ///< blocks of a panel along here

    std::size_t blocks() const { return (size + box - 1) / box; }
    std::size_t panels() const { return (blocks() + panel - 1) / panel; }
  };

  static std::vector<Dimension> cut(std::span<const std::size_t> shape, const Geometry& geometry);
  static std::vector<Dimension> joined(const std::vector<Dimension>& all);
  void choose_panels();

  std::vector<Dimension> dimensions_;
  std::size_t values_ = 1;
  std::size_t blocks_ = 0;
  std::size_t panels_ = 0;
};

/// Visits the blocks and the values of one panel after the other.
class PanelWalk {
 public:
  explicit PanelWalk(const Panels& panels) : all_(panels), here_(panels.dimensions_.size()) {}

  void enter(std::size_t panel);

  /// Blocks of the panel.
  std::size_t blocks() const { return blocks_; }

  /// Whether neighbouring values belong to different blocks.
  bool interleaves() const { return all_.dimensions_.back().box == 1; }

  /// Calls visit(block of the panel, block of the tensor) for each block.
  template <typename F>
  void each_block(F&& visit) const {
    each_block(0, 0, 0, visit);
  }

  /// Calls visit(block of the panel, first value, values) for each run of contiguous values of a
  /// block, in ascending order.
  template <typename F>
  void each_run(F&& visit) const {
    const Panels::Dimension& whole = all_.dimensions_.back();
    const Interval& here = here_.back();
    each_line(0, 0, 0, [&](std::size_t block, std::size_t line) {
      for (std::size_t i = 0; i < here.blocks; ++i) {
        const std::size_t begin = (here.first_block + i) * whole.box;
        const std::size_t end = std::min(whole.size, begin + whole.box);
        visit(block + i, line + begin, end - begin);
      }
    });
  }

  /// Where blocks interleave, calls visit(first block of the panel, first value, values) for each
  /// row of values of neighbouring blocks, in ascending order.
  template <typename F>
  void each_row(F&& visit) const {
    const Interval& here = here_.back();
    each_line(0, 0, 0, [&](std::size_t block, std::size_t line) {
      visit(block, line + here.first_block, here.blocks);
    });
  }

 private:
  struct Interval {
    std::size_t first_block;
    std::size_t blocks;
    std::size_t stride;  ///< between neighbouring blocks of the panel
  };

  template <typename F>
  void each_block(std::size_t d, std::size_t local, std::size_t global, F& visit) const {
    if (d == here_.size()) {
      visit(local, global);
      return;
    }
    const Interval& here = here_[d];
    for (std::size_t i = 0; i < here.blocks; ++i) {
      each_block(d + 1, local + i * here.stride,
                 global + (here.first_block + i) * all_.dimensions_[d].block_stride, visit);
    }
  }

  /// Calls visit(block of the panel, first value) for each index of all dimensions but the last.
  template <typename F>
  void each_line(std::size_t d, std::size_t local, std::size_t first, F&& visit) const {
    if (d + 1 == here_.size()) {
      visit(local, first);
      return;
    }
    const Panels::Dimension& whole = all_.dimensions_[d];
    const Interval& here = here_[d];
    for (std::size_t i = 0; i < here.blocks; ++i) {
      const std::size_t begin = (here.first_block + i) * whole.box;
      const std::size_t end = std::min(whole.size, begin + whole.box);
      for (std::size_t k = begin; k < end; ++k) {
        each_line(d + 1, local + i * here.stride, first + k * whole.stride, visit);
      }
    }
  }

  const Panels& all_;
  std::vector<Interval> here_;
  std::size_t blocks_ = 0;
};

}  // namespace cpdcomm::codec
