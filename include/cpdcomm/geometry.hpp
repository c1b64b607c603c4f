#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "cpdcomm/codec.hpp"
#include "cpdcomm/export.hpp"
#include "cpdcomm/format.hpp"

namespace cpdcomm {

/// Which values of a tensor share a scale: for the formats with blocks (`bfp`, mx, `int`, `sign`),
/// where values are rounded and not sent. On the wire blocks are flat.
///
/// A small value type. Dimensions count from 0, or from the last as -1, -2 and so on.
class Geometry {
 public:
  enum class Kind : std::uint8_t {
    flat,    ///< consecutive values in row-major order
    tensor,  ///< all values
    axes,    ///< one block per index of some axes: a channel, a sample
    tiles,   ///< squares over two dimensions
  };

  /// Blocks of `block` consecutive values, the last perhaps shorter.
  /// @throws Error invalid_argument for 0
  CPDCOMM_API static Geometry flat(std::size_t block);

  /// One block.
  CPDCOMM_API static Geometry tensor();

  /// One block per index of the given axes, over all other dimensions; in any order.
  CPDCOMM_API static Geometry axes(std::vector<int> axes);

  /// Tiles of `size` x `size` over two dimensions, one set for each index of the others (M. Drumond
  /// et al., Training DNNs with hybrid block floating point, NeurIPS 2018). Those at the edges are
  /// smaller.
  /// @throws Error invalid_argument for size 0
  CPDCOMM_API static Geometry tiles(std::size_t size, int row_dim = -2, int column_dim = -1);

  Kind kind() const { return kind_; }
  /// Of `flat` the values of a block, of `tiles` the side; else 0.
  std::size_t size() const { return size_; }
  /// The axes, or a tile's row and column dimension.
  const std::vector<int>& dims() const { return dims_; }

  friend bool operator==(const Geometry&, const Geometry&) = default;

 private:
  Geometry(Kind kind, std::size_t size, std::vector<int> dims)
      : kind_(kind), size_(size), dims_(std::move(dims)) {}

  Kind kind_;
  std::size_t size_;
  std::vector<int> dims_;
};

/// The blocks of a tensor of this shape (row-major; {} is one value). An empty tensor has none.
/// Blocks are in row-major order: of the flat tensor; of the axes in ascending order; of the
/// dimensions without tiles, then the tile's row, then its column.
/// @throws Error invalid_argument when a dimension of the geometry is out of range or given twice
CPDCOMM_API std::size_t block_count(std::span<const std::size_t> shape, const Geometry& geometry);

/// A tensor's blocks fall into panels, groups of neighbours, which threads may share: for the same
/// tensor, any panels at the same time.
CPDCOMM_API std::size_t panel_count(std::span<const std::size_t> shape, const Geometry& geometry);

/// Panels `first` to `last` - 1, as far as there are such.
struct PanelRange {
  std::size_t first = 0;
  std::size_t last = std::numeric_limits<std::size_t>::max();
};

/// The scale that each block would get: the FP32 number that its integers, for mx its elements, are
/// multiplied by; for `sign` the mean magnitude. NaN where a value is not finite.
/// @param scales  block_count(shape, geometry) values in block order; only those of `panels` are
///                written
/// @throws Error invalid_argument when a size is wrong or the format has no blocks
CPDCOMM_API void block_scales(std::span<const float> in, std::span<const std::size_t> shape,
                              Format format, const Geometry& geometry, std::span<float> scales,
                              PanelRange panels = {});

/// Rounds a tensor to a format with blocks, its blocks by `geometry`. In a block with an Inf or NaN
/// all becomes NaN. Stochastic rounding draws the word of a value's flat index.
/// @param scales  what integers (for mx elements, for `sign` +-1) are multiplied by: none, then
///                each block gets its own; one for all blocks; or one per block in block order
/// @param out     may be `in`; only the values of `panels` are written
/// @throws Error invalid_argument when a size is wrong, the format has no blocks, or a scale is not
///         positive and finite, for `bfp` and mx not a power of two, or for mx below 2^-127
CPDCOMM_API void quantize(std::span<const float> in, std::span<const std::size_t> shape,
                          Format format, const Geometry& geometry, std::span<const float> scales,
                          std::span<float> out, CastOptions options = {}, PanelRange panels = {});

}  // namespace cpdcomm
