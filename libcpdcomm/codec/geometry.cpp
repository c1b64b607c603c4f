// Scales that other values share than those that lie side by side.
#include "cpdcomm/geometry.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <bit>
#include <vector>

#include "codec/arrays.hpp"
#include "codec/checks.hpp"
#include "codec/codec.hpp"
#include "codec/float_environment.hpp"
#include "codec/panels.hpp"
#include "cpdcomm/error.hpp"
#include "numerics/linear.hpp"
#include "numerics/mean_magnitude.hpp"
#include "numerics/shared_exponent.hpp"

namespace cpdcomm {
namespace {

using codec::Codec;
using codec::Layout;
using codec::Panels;
using codec::PanelWalk;

/// Per block of a panel.
using PanelScales = std::array<float, Panels::kMostBlocks>;
using PanelLargest = std::array<std::uint32_t, Panels::kMostBlocks>;

[[noreturn]] void fail(const std::string& message) {
  throw Error(ErrorCode::invalid_argument, message);
}

void check_format(Format format) {
  if (!format.is_float()) return;
  fail(
      fmt::format("{} casts each value by itself and takes no geometry and no scale; bfp, mx, int "
                  "and sign do",
                  format.to_string()));
}

void check_values(const char* what, std::size_t values, std::span<const std::size_t> shape,
                  const Panels& panels) {
  if (values == panels.values()) return;
  fail(fmt::format("{} has {} values; a tensor of shape [{}] has {}", what, values,
                   fmt::join(shape, ", "), panels.values()));
}

void check_scale(float scale, Format format) {
  const std::uint32_t bits = numerics::bits_of(scale);
  if (bits == 0 || bits >= numerics::kInfinity) {
    fail(fmt::format("scale {} is not allowed: it must be positive and finite", scale));
  }
  const bool needs_power = format.kind() == Format::Kind::bfp || format.kind() == Format::Kind::mx;
  const std::uint32_t mantissa = bits & 0x7fffffu;
  const bool is_power = bits > 0x7fffffu ? mantissa == 0 : std::has_single_bit(mantissa);
  if (needs_power && !is_power) {
    fail(fmt::format("scale {} is not allowed: those of {} are powers of two", scale,
                     format.to_string()));
  }
  if (format.kind() == Format::Kind::mx && bits < 0x00400000u) {
    fail(fmt::format("scale {} is not allowed: those of {} are 2^-127 to 2^127", scale,
                     format.to_string()));
  }
}

void check_scales(std::span<const float> scales, Format format, const Panels& panels) {
  if (scales.size() > 1 && scales.size() != panels.blocks()) {
    fail(fmt::format("{} scales are given; there must be 1, or one for each of {} blocks",
                     scales.size(), panels.blocks()));
  }
  for (const float scale : scales) check_scale(scale, format);
}

/// What the codes of a block are multiplied by. For all formats but sign.
float scale_of(const Layout& layout, std::uint32_t largest) {
  switch (layout.format.kind()) {
    case Format::Kind::bfp:
      return numerics::bfp_step(numerics::bfp_exponent(largest), layout.bits - 1);
    case Format::Kind::mx:
      return numerics::mx_scale(numerics::mx_exponent(largest, layout.mx_emax()));
    default:
      return numerics::linear_scale(largest, layout.bits - 1);
  }
}

PanelLargest largest_of(const PanelWalk& panel, const float* in) {
  PanelLargest largest;
  std::fill_n(largest.begin(), panel.blocks(), 0);
  if (panel.interleaves()) {
    panel.each_row([&](std::size_t block, std::size_t first, std::size_t count) {
      for (std::size_t i = 0; i < count; ++i) {
        const std::uint32_t bits = numerics::bits_of(in[first + i]) & 0x7fffffffu;
        largest[block + i] = std::max(largest[block + i], bits);
      }
    });
    return largest;
  }
  panel.each_run([&](std::size_t block, std::size_t first, std::size_t count) {
    largest[block] = std::max(largest[block], codec::largest_bits(in + first, count));
  });
  return largest;
}

PanelScales means_of(const PanelWalk& panel, const float* in) {
  std::array<numerics::MeanMagnitude, Panels::kMostBlocks> means;
  panel.each_run([&](std::size_t block, std::size_t first, std::size_t count) {
    for (std::size_t i = first; i < first + count; ++i) means[block].add(in[i]);
  });
  PanelScales scales;
  for (std::size_t block = 0; block < panel.blocks(); ++block) scales[block] = means[block].mean();
  return scales;
}

PanelScales derived_scales(const PanelWalk& panel, const float* in, const Layout& layout) {
  if (layout.format.kind() == Format::Kind::sign) return means_of(panel, in);
  const PanelLargest largest = largest_of(panel, in);
  PanelScales scales;
  for (std::size_t block = 0; block < panel.blocks(); ++block) {
    scales[block] = scale_of(layout, largest[block]);
  }
  return scales;
}

/// Those given, but NaN for blocks with an Inf or NaN.
PanelScales given_scales(const PanelWalk& panel, const float* in, std::span<const float> given) {
  const PanelLargest largest = largest_of(panel, in);
  PanelScales scales;
  panel.each_block([&](std::size_t block, std::size_t in_tensor) {
    const bool finite = largest[block] < numerics::kInfinity;
    const float scale = given.size() == 1 ? given[0] : given[in_tensor];
    scales[block] = finite ? scale : numerics::float_of(numerics::kQuietNan);
  });
  return scales;
}

void round_runs(const PanelWalk& panel, const Codec& codec, const PanelScales& scales,
                const float* in, const CastOptions& options, float* out) {
  CastOptions cast = options;
  panel.each_run([&](std::size_t block, std::size_t first, std::size_t count) {
    if (cast.stochastic) cast.stochastic->first = options.stochastic->first + first;
    codec.round_on(in + first, count, scales[block], cast, out + first);
  });
}

/// Where blocks interleave: rows turned, so that a block's values lie side by side and one call
/// rounds them. For nearest-even, which does not ask where they come from.
void round_rows(const PanelWalk& panel, const Codec& codec, const PanelScales& scales,
                const float* in, const CastOptions& cast, float* out) {
  constexpr std::size_t kRows = 32;
  std::array<float, kRows * Panels::kMostBlocks> turned;
  std::array<std::size_t, kRows> firsts;
  std::size_t rows = 0;
  std::size_t first_block = 0;
  std::size_t blocks = 0;
  const auto flush = [&] {
    for (std::size_t row = 0; row < rows; ++row) {
      for (std::size_t i = 0; i < blocks; ++i) turned[i * kRows + row] = in[firsts[row] + i];
    }
    for (std::size_t i = 0; i < blocks; ++i) {
      float* values = turned.data() + i * kRows;
      codec.round_on(values, rows, scales[first_block + i], cast, values);
    }
    for (std::size_t row = 0; row < rows; ++row) {
      for (std::size_t i = 0; i < blocks; ++i) out[firsts[row] + i] = turned[i * kRows + row];
    }
    rows = 0;
  };
  panel.each_row([&](std::size_t block, std::size_t first, std::size_t count) {
    if (rows == kRows || block != first_block) flush();
    first_block = block;
    blocks = count;
    firsts[rows++] = first;
  });
  flush();
}

/// Blocks as they are on the wire.
void round_flat(const Codec& codec, std::span<const float> in, std::size_t panel, PanelRange panels,
                const CastOptions& options, std::span<float> out) {
  const std::size_t first = panels.first * panel;
  const std::size_t last = std::min(in.size(), panels.last * panel);
  CastOptions cast = options;
  if (cast.stochastic) cast.stochastic->first += first;
  codec.round(in.data() + first, last - first, cast, out.data() + first);
}

PanelRange existing(PanelRange range, const Panels& panels) {
  const std::size_t last = std::min(range.last, panels.count());
  return {std::min(range.first, last), last};
}

}  // namespace

Geometry Geometry::flat(std::size_t block) {
  if (block == 0) fail("a flat geometry's block is 0; it must have at least 1 value");
  return {Kind::flat, block, {}};
}

Geometry Geometry::tensor() { return {Kind::tensor, 0, {}}; }

Geometry Geometry::axes(std::vector<int> axes) { return {Kind::axes, 0, std::move(axes)}; }

Geometry Geometry::tiles(std::size_t size, int row_dim, int column_dim) {
  if (size == 0) fail("the side of a tile is 0; it must be at least 1");
  return {Kind::tiles, size, {row_dim, column_dim}};
}

std::size_t block_count(std::span<const std::size_t> shape, const Geometry& geometry) {
  return Panels(shape, geometry).blocks();
}

std::size_t panel_count(std::span<const std::size_t> shape, const Geometry& geometry) {
  return Panels(shape, geometry).count();
}

void block_scales(std::span<const float> in, std::span<const std::size_t> shape, Format format,
                  const Geometry& geometry, std::span<float> scales, PanelRange range) {
  check_format(format);
  const Panels panels(shape, geometry);
  check_values("the tensor", in.size(), shape, panels);
  if (scales.size() != panels.blocks()) {
    fail(fmt::format("there is room for {} scales; the tensor has {} blocks", scales.size(),
                     panels.blocks()));
  }
  const Layout layout(format);
  const PanelRange some = existing(range, panels);
  const codec::FloatEnvironment environment;
  PanelWalk panel(panels);
  for (std::size_t i = some.first; i < some.last; ++i) {
    panel.enter(i);
    const PanelScales derived = derived_scales(panel, in.data(), layout);
    panel.each_block(
        [&](std::size_t block, std::size_t in_tensor) { scales[in_tensor] = derived[block]; });
  }
}

void quantize(std::span<const float> in, std::span<const std::size_t> shape, Format format,
              const Geometry& geometry, std::span<const float> scales, std::span<float> out,
              CastOptions options, PanelRange range) {
  check_format(format);
  const Panels panels(shape, geometry);
  check_values("the tensor", in.size(), shape, panels);
  check_values("the result", out.size(), shape, panels);
  check_scales(scales, format, panels);
  const CastOptions cast = codec::checked(options, format);
  if (panels.count() == 0) return;
  const PanelRange some = existing(range, panels);
  const Codec codec = codec::codec_for(format);
  const codec::FloatEnvironment environment;
  if (scales.empty() && geometry == Geometry::flat(format.block())) {
    round_flat(codec, in, panels.flat_panel(), some, cast, out);
    return;
  }
  PanelWalk panel(panels);
  for (std::size_t i = some.first; i < some.last; ++i) {
    panel.enter(i);
    const PanelScales used = scales.empty() ? derived_scales(panel, in.data(), codec.layout())
                                            : given_scales(panel, in.data(), scales);
    const bool turn = panel.interleaves() && !cast.stochastic;
    (turn ? round_rows : round_runs)(panel, codec, used, in.data(), cast, out.data());
  }
}

}  // namespace cpdcomm
