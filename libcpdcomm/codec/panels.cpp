#include "codec/panels.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cpdcomm/error.hpp"

namespace cpdcomm::codec {
namespace {

/// The dimensions of a geometry as indices of `shape`.
std::vector<std::size_t> dimensions_of(const Geometry& geometry, std::size_t rank) {
  std::vector<std::size_t> dims;
  for (const int dim : geometry.dims()) {
    const auto count = static_cast<int>(rank);
    if (dim < -count || dim >= count) {
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("dimension {} of the geometry is out of range: the tensor has {}",
                              dim, rank));
    }
    const auto index = static_cast<std::size_t>(dim < 0 ? dim + count : dim);
    if (std::find(dims.begin(), dims.end(), index) != dims.end()) {
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("dimension {} is given twice in the geometry", dim));
    }
    dims.push_back(index);
  }
  return dims;
}

std::size_t product(std::span<const std::size_t> shape) {
  std::size_t values = 1;
  for (const std::size_t size : shape) {
    if (size != 0 && values > std::numeric_limits<std::size_t>::max() / size) {
      throw Error(ErrorCode::invalid_argument,
                  fmt::format("a shape of ({}) has more values than memory can hold",
                              fmt::join(shape, ", ")));
    }
    values *= size;
  }
  return values;
}

}  // namespace

Panels::Panels(std::span<const std::size_t> shape, const Geometry& geometry)
    : values_(product(shape)) {
  const std::vector<Dimension> all = cut(shape, geometry);
  if (values_ == 0) return;
  dimensions_ = joined(all);
  choose_panels();
  blocks_ = panels_ = 1;
  for (const Dimension& dimension : dimensions_) {
    blocks_ *= dimension.blocks();
    panels_ *= dimension.panels();
  }
}

std::vector<Panels::Dimension> Panels::cut(std::span<const std::size_t> shape,
                                           const Geometry& geometry) {
  if (geometry.kind() == Geometry::Kind::flat) {
    const std::size_t values = product(shape);
    return {{values, std::clamp<std::size_t>(values, 1, geometry.size()), 1}};
  }
  const std::vector<std::size_t> dims = dimensions_of(geometry, shape.size());
  const bool tiles = geometry.kind() == Geometry::Kind::tiles;
  std::vector<Dimension> all;
  for (const std::size_t size : shape) {
    all.push_back({size, tiles ? 1 : std::max<std::size_t>(1, size), 0});
  }
  for (const std::size_t dim : dims) {
    all[dim].box = tiles ? std::clamp<std::size_t>(all[dim].size, 1, geometry.size()) : 1;
  }

  // The last in block order first: of tiles the columns, then the rows, then the others.
  std::size_t stride = 1;
  const auto place = [&](Dimension& dimension) {
    dimension.block_stride = stride;
    stride *= dimension.blocks();
  };
  const auto is_placed = [&](std::size_t dim) {
    return tiles && std::find(dims.begin(), dims.end(), dim) != dims.end();
  };
  if (tiles) {
    place(all[dims[1]]);
    place(all[dims[0]]);
  }
  for (std::size_t dim = all.size(); dim-- > 0;) {
    if (!is_placed(dim)) place(all[dim]);
  }
  return all;
}

std::vector<Panels::Dimension> Panels::joined(const std::vector<Dimension>& all) {
  std::vector<Dimension> joined;
  for (const Dimension& inner : all) {
    if (inner.size == 1) continue;
    if (!joined.empty()) {
      Dimension& outer = joined.back();
      if (inner.box >= inner.size) {  // a block holds all of it
        outer.size *= inner.size;
        outer.box *= inner.size;
        continue;
      }
      const bool follows = outer.block_stride == inner.block_stride * inner.blocks();
      if (outer.box == 1 && inner.size % inner.box == 0 && follows) {
        outer = {outer.size * inner.size, inner.box, inner.block_stride};
        continue;
      }
    }
    joined.push_back(inner);
  }
  if (joined.empty()) joined.push_back({1, 1, 1});
  return joined;
}

void Panels::choose_panels() {
  // Values in a row from which on memory streams.
  constexpr std::size_t kPiece = 2048;

  std::size_t stride = 1;
  for (std::size_t d = dimensions_.size(); d-- > 0; stride *= dimensions_[d].size) {
    dimensions_[d].stride = stride;
  }
  std::size_t left = kMostBlocks;
  for (std::size_t d = dimensions_.size(); d-- > 0;) {
    Dimension& dimension = dimensions_[d];
    const std::size_t piece = std::min(dimension.box, dimension.size) * dimension.stride;
    dimension.panel =
        std::clamp<std::size_t>(kPiece / piece, 1, std::min(left, dimension.blocks()));
    left /= dimension.panel;
  }
}

void PanelWalk::enter(std::size_t panel) {
  blocks_ = 1;
  for (std::size_t d = here_.size(); d-- > 0;) {
    const Panels::Dimension& whole = all_.dimensions_[d];
    const std::size_t first = panel % whole.panels() * whole.panel;
    panel /= whole.panels();
    here_[d] = {first, std::min(whole.panel, whole.blocks() - first), blocks_};
    blocks_ *= here_[d].blocks;
  }
}

}  // namespace cpdcomm::codec
