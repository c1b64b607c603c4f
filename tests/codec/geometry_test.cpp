#include "cpdcomm/geometry.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "cpdcomm/error.hpp"
#include "support/bits.hpp"
#include "support/random.hpp"

namespace cpdcomm::testing {
namespace {

using Shape = std::vector<std::size_t>;

constexpr float kInf = std::numeric_limits<float>::infinity();
const std::vector<const char*> kFormats{"bfp4",   "bfp24", "mxfp8e4m3", "mxfp4",
                                        "mxint8", "int2",  "int8",      "sign"};

std::size_t product(const Shape& shape) {
  std::size_t values = 1;
  for (const std::size_t size : shape) values *= size;
  return values;
}

/// Normal values of very different binades.
std::vector<float> values_for(const Shape& shape, unsigned seed = 1) {
  std::vector<float> values(product(shape));
  Random random(seed);
  for (float& value : values) {
    const auto integer = static_cast<std::int32_t>(random());
    value = std::ldexp(static_cast<float>(integer), static_cast<int>(random.below(32)) - 47);
  }
  return values;
}

/// A value's block as the specification says it, from its indices.
std::size_t block_of(std::size_t index, const Shape& shape, const Geometry& geometry) {
  if (geometry.kind() == Geometry::Kind::flat) return index / geometry.size();
  Shape at(shape.size());
  for (std::size_t d = shape.size(), rest = index; d-- > 0; rest /= shape[d]) {
    at[d] = rest % shape[d];
  }
  std::vector<std::size_t> dims;
  for (const int dim : geometry.dims()) {
    dims.push_back(static_cast<std::size_t>(dim < 0 ? dim + static_cast<int>(shape.size()) : dim));
  }
  std::size_t block = 0;
  if (geometry.kind() == Geometry::Kind::axes) {
    std::sort(dims.begin(), dims.end());
    for (const std::size_t dim : dims) block = block * shape[dim] + at[dim];
    return block;
  }
  if (geometry.kind() == Geometry::Kind::tensor) return 0;
  for (std::size_t d = 0; d < shape.size(); ++d) {
    if (d != dims[0] && d != dims[1]) block = block * shape[d] + at[d];
  }
  for (const std::size_t dim : dims) {
    const std::size_t tiles = (shape[dim] + geometry.size() - 1) / geometry.size();
    block = block * tiles + at[dim] / geometry.size();
  }
  return block;
}

/// The flat indices of each block, ascending.
std::map<std::size_t, std::vector<std::size_t>> blocks_of(const Shape& shape,
                                                          const Geometry& geometry) {
  std::map<std::size_t, std::vector<std::size_t>> blocks;
  for (std::size_t i = 0; i < product(shape); ++i) {
    blocks[block_of(i, shape, geometry)].push_back(i);
  }
  return blocks;
}

std::vector<float> quantized(const std::vector<float>& in, const Shape& shape, Format format,
                             const Geometry& geometry, const std::vector<float>& scales = {},
                             CastOptions options = {}) {
  std::vector<float> out(in.size());
  quantize(in, shape, format, geometry, scales, out, options);
  return out;
}

struct Case {
  Shape shape;
  Geometry geometry;
};

std::vector<Case> cases() {
  const Shape image{3, 5, 7, 4};
  std::vector<Case> all{
      {{}, Geometry::tensor()},
      {{}, Geometry::axes({})},
      {{1}, Geometry::axes({0})},
      {{100}, Geometry::flat(1)},
      {{100}, Geometry::flat(64)},
      {{10, 10}, Geometry::flat(7)},
      {{10, 10}, Geometry::flat(1000)},
      {image, Geometry::tensor()},
      {image, Geometry::axes({})},
      {image, Geometry::axes({0})},
      {image, Geometry::axes({1})},
      {image, Geometry::axes({-1})},
      {image, Geometry::axes({2, 0})},
      {image, Geometry::axes({3, 1})},
      {image, Geometry::axes({0, 1, 2, 3})},
      {image, Geometry::tiles(1)},
      {image, Geometry::tiles(2)},
      {image, Geometry::tiles(3, 1, 2)},
      {image, Geometry::tiles(3, 2, 1)},
      {image, Geometry::tiles(2, 0, -1)},
      {image, Geometry::tiles(2, 3, 0)},
      {image, Geometry::tiles(100)},
      {{33, 70}, Geometry::tiles(16)},
      {{33, 70}, Geometry::tiles(16, 1, 0)},
      {{1, 70, 1}, Geometry::tiles(16, 0, 1)},
      {{3, 600, 2}, Geometry::axes({1})},       // more blocks than a panel takes
      {{5, 700}, Geometry::axes({1})},          // the same, one value at a time
      {{40, 1300}, Geometry::tiles(4)},         //
      {{7, 3, 40, 5}, Geometry::axes({1, 3})},  // one value at a time, in turns
      {{5000}, Geometry::axes({0})},            // each value a block
      {{4, 3, 1500}, Geometry::axes({1})},      // several panels of long runs
  };
  return all;
}

std::string describe(const Case& one, const char* format) {
  std::string text = format;
  text += " shape";
  for (const std::size_t size : one.shape) text += " " + std::to_string(size);
  text += " kind " + std::to_string(static_cast<int>(one.geometry.kind())) + " size " +
          std::to_string(one.geometry.size()) + " dims";
  for (const int dim : one.geometry.dims()) text += " " + std::to_string(dim);
  return text;
}

/// A block's values alone, as one tensor with one scale.
void expect_each_block_alone(const Case& one, const char* name, const std::vector<float>& in) {
  const Format format = Format::parse(name);
  const auto blocks = blocks_of(one.shape, one.geometry);
  const std::vector<float> got = quantized(in, one.shape, format, one.geometry);
  std::vector<float> scales(block_count(one.shape, one.geometry));
  ASSERT_EQ(scales.size(), blocks.size()) << describe(one, name);
  block_scales(in, one.shape, format, one.geometry, scales);
  for (const auto& [block, indices] : blocks) {
    std::vector<float> alone;
    for (const std::size_t i : indices) alone.push_back(in[i]);
    const Shape shape{alone.size()};
    const std::vector<float> want = quantized(alone, shape, format, Geometry::tensor());
    float scale = 0;
    block_scales(alone, shape, format, Geometry::tensor(), std::span(&scale, 1));
    ASSERT_EQ(bits(scales[block]), bits(scale)) << describe(one, name) << " block " << block;
    for (std::size_t i = 0; i < indices.size(); ++i) {
      ASSERT_EQ(bits(got[indices[i]]), bits(want[i]))
          << describe(one, name) << " value " << indices[i];
    }
  }
}

TEST(Geometry, EachBlockIsCastAlone) {
  for (const Case& one : cases()) {
    std::vector<float> in = values_for(one.shape);
    for (const char* name : kFormats) expect_each_block_alone(one, name, in);
    in[in.size() / 2] = std::numeric_limits<float>::quiet_NaN();
    in[in.size() / 3] = -kInf;
    for (const char* name : kFormats) expect_each_block_alone(one, name, in);
  }
}

TEST(Geometry, OneBlockIsTheCodecs) {
  for (const char* name : kFormats) {
    const Format format = Format::parse(name);
    const Shape shape{2, format.block() / 2};
    const std::vector<float> in = values_for(shape);
    std::vector<float> want(in.size());
    quantize(in, format, want);
    for (const Geometry& geometry :
         {Geometry::tensor(), Geometry::flat(format.block()), Geometry::axes({})}) {
      EXPECT_EQ(quantized(in, shape, format, geometry), want) << name;
    }
  }
}

TEST(Geometry, TheFormatsOwnBlocksAreTheWires) {
  for (const char* name : kFormats) {
    const Format format = Format::parse(name);
    const Shape shape{3, 5, 91};
    const std::vector<float> in = values_for(shape);
    std::vector<float> want(in.size());
    for (const bool stochastic : {false, true}) {
      CastOptions options;
      if (stochastic) options.stochastic = RandomStream{.seed = 7, .first = 12};
      quantize(in, format, want, options);
      const Geometry own = Geometry::flat(format.block());
      EXPECT_EQ(quantized(in, shape, format, own, {}, options), want) << name;
      // The same on given scales, which takes the other way.
      std::vector<float> scales(block_count(shape, own));
      block_scales(in, shape, format, own, scales);
      EXPECT_EQ(quantized(in, shape, format, own, scales, options), want) << name;
    }
  }
}

TEST(Geometry, StochasticWordsBelongToFlatIndices) {
  const Format format = Format::parse("int8");
  const Shape shape{6, 40};
  const std::vector<float> in = values_for(shape);
  const CastOptions options{.stochastic = RandomStream{.seed = 3, .first = 5}};
  // One scale for all: how the tensor is cut changes nothing.
  const std::vector<float> scale{std::ldexp(1.0f, 8)};
  const std::vector<float> want = quantized(in, shape, format, Geometry::tensor(), scale, options);
  EXPECT_NE(quantized(in, shape, format, Geometry::tensor(), scale), want);
  for (const Geometry& geometry : {Geometry::flat(24), Geometry::axes({0}), Geometry::axes({1}),
                                   Geometry::tiles(4), Geometry::tiles(7, 1, 0)}) {
    EXPECT_EQ(quantized(in, shape, format, geometry, scale, options), want);
  }
}

TEST(Geometry, PanelsInAnyOrderAndInPlace) {
  for (const Case& one : cases()) {
    const Format format = Format::parse("bfp8");
    const std::vector<float> in = values_for(one.shape);
    const std::vector<float> want = quantized(in, one.shape, format, one.geometry);
    std::vector<float> got = in;
    std::vector<float> scales(block_count(one.shape, one.geometry), -1.0f);
    std::vector<float> all_scales(scales.size());
    block_scales(in, one.shape, format, one.geometry, all_scales);
    for (std::size_t i = panel_count(one.shape, one.geometry); i-- > 0;) {
      block_scales(got, one.shape, format, one.geometry, scales, {i, i + 1});
      quantize(got, one.shape, format, one.geometry, {}, got, {}, {i, i + 1});
    }
    EXPECT_EQ(got, want) << describe(one, "bfp8");
    EXPECT_EQ(scales, all_scales) << describe(one, "bfp8");
  }
}

TEST(Geometry, GivenScales) {
  const Shape shape{2, 3};
  const std::vector<float> in{0.6f, -1.4f, 9.0f, 1000.0f, -1000.0f, kInf};
  const Format int4 = Format::parse("int4");
  EXPECT_EQ(quantized({0.6f, -1.4f, 9.0f, 1e3f, -1e3f, 0.0f}, shape, int4, Geometry::tensor(), {1}),
            (std::vector<float>{1, -1, 7, 7, -7, 0}));
  const std::vector<float> got = quantized(in, shape, int4, Geometry::axes({0}), {0.5f, 200.0f});
  EXPECT_EQ((std::vector<float>{got.begin(), got.begin() + 3}),
            (std::vector<float>{0.5f, -1.5f, 3.5f}));
  EXPECT_TRUE(std::all_of(got.begin() + 3, got.end(), [](float x) { return std::isnan(x); }));
  EXPECT_EQ(quantized({5.0f, -0.1f}, Shape{2}, Format::parse("sign"), Geometry::tensor(), {0.25f}),
            (std::vector<float>{0.25f, -0.25f}));
  // The smallest power of two.
  const float least = std::numeric_limits<float>::denorm_min();
  EXPECT_EQ(quantized({3 * least, 200 * least}, Shape{2}, Format::parse("bfp8"), Geometry::tensor(),
                      {least}),
            (std::vector<float>{3 * least, 127 * least}));
}

TEST(Geometry, EmptyTensors) {
  const Format format = Format::parse("int8");
  for (const Shape& shape : {Shape{0}, Shape{3, 0}, Shape{0, 4, 5}}) {
    for (const Geometry& geometry :
         {Geometry::flat(8), Geometry::tensor(), Geometry::axes({0}), Geometry::tiles(4, 0, -1)}) {
      if (shape.size() < 2 && geometry.kind() == Geometry::Kind::tiles) continue;
      EXPECT_EQ(block_count(shape, geometry), 0u);
      EXPECT_TRUE(quantized({}, shape, format, geometry).empty());
      EXPECT_TRUE(quantized({}, shape, format, geometry, {1.0f}).empty());
    }
  }
}

template <typename F>
void expect_refused(F&& call, const std::string& part) {
  try {
    call();
    ADD_FAILURE() << "not refused: " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::invalid_argument);
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(Geometry, Errors) {
  const Shape shape{2, 4};
  const std::vector<float> in = values_for(shape);
  const auto cast = [&](const char* format, const Geometry& geometry,
                        const std::vector<float>& scales = {}) {
    return [&in, &shape, format, geometry, scales] {
      quantized(in, shape, Format::parse(format), geometry, scales);
    };
  };
  expect_refused([] { Geometry::flat(0); }, "0");
  expect_refused([] { Geometry::tiles(0); }, "0");
  expect_refused(cast("e4m3", Geometry::tensor()), "e4m3");
  expect_refused(cast("e4m3fn", Geometry::tensor(), {1}), "e4m3fn");
  expect_refused(cast("int8", Geometry::axes({2})), "dimension 2");
  expect_refused(cast("int8", Geometry::axes({-3})), "dimension -3");
  expect_refused(cast("int8", Geometry::axes({1, -1})), "twice");
  expect_refused(cast("int8", Geometry::tiles(2, 0, -2)), "twice");
  expect_refused(cast("int8", Geometry::tiles(2, 0, 2)), "dimension 2");
  expect_refused(cast("int8", Geometry::axes({0}), {1, 2, 3}), "3 scales");
  for (const float wrong : {0.0f, -0.0f, -1.0f, kInf, std::nanf("")}) {
    expect_refused(cast("int8", Geometry::tensor(), {wrong}), "positive");
    expect_refused(cast("sign", Geometry::axes({0}), {1, wrong}), "positive");
  }
  for (const char* format : {"bfp8", "mxfp4", "mxint8"}) {
    for (const float wrong : {3.0f, 0.1f, 3e-45f * 1.5f}) {
      expect_refused(cast(format, Geometry::tensor(), {wrong}), "powers of two");
    }
  }
  std::vector<float> out(7);
  expect_refused([&] { quantize(in, shape, Format::parse("int8"), Geometry::tensor(), {}, out); },
                 "7 values");
  expect_refused([&] { quantize(out, shape, Format::parse("int8"), Geometry::tensor(), {}, out); },
                 "shape [2, 4]");
  expect_refused([&] { block_scales(in, shape, Format::parse("int8"), Geometry::tensor(), out); },
                 "7 scales");
  CastOptions shifted;
  shifted.shift = 1;
  expect_refused(
      [&] { quantized(in, shape, Format::parse("int8"), Geometry::tensor(), {}, shifted); },
      "shift");
}

TEST(Pieces, AreTheWholesBytes) {
  for (const char* name :
       {"fp32", "e4m3", "e2m0", "e4m3fn", "bfp5", "int3:8", "mxfp4", "sign:16"}) {
    const Format format = Format::parse(name);
    const std::size_t unit = std::max<std::size_t>(8, format.block());
    const Shape shape{unit * 3 + 5};
    const std::vector<float> in = values_for(shape);
    for (const bool stochastic : {false, true}) {
      CastOptions options;
      if (stochastic) options.stochastic = RandomStream{.seed = 9};
      std::vector<std::byte> want(encoded_size(format, in.size()));
      std::vector<std::byte> got(want.size());
      std::vector<float> values(in.size());
      encode(in, format, want, options);
      for (const auto& [first, last] :
           {std::pair{unit, 3 * unit}, std::pair<std::size_t, std::size_t>{0, unit},
            std::pair{3 * unit, in.size()}}) {
        if (stochastic) options.stochastic->first = first;
        encode_piece(std::span(in).subspan(first, last - first), {in.size(), first}, format, got,
                     options);
      }
      EXPECT_EQ(got, want) << name;
      for (std::size_t first = 0; first < in.size(); first += unit) {
        const std::size_t count = std::min(unit, in.size() - first);
        decode_piece(got, {in.size(), first}, format, std::span(values).subspan(first, count));
      }
      std::vector<float> whole(in.size());
      decode(want, format, whole);
      EXPECT_EQ(values, whole) << name;
    }
  }
}

TEST(Pieces, Errors) {
  const Format format = Format::parse("int8:16");
  std::vector<float> values(16);
  std::vector<std::byte> bytes(encoded_size(format, 40));
  const auto encoded = [&](std::size_t count, Piece piece) {
    return
        [&, count, piece] { encode_piece(std::span(values).first(count), piece, format, bytes); };
  };
  expect_refused(encoded(16, {40, 8}), "multiples of 16");
  expect_refused(encoded(8, {40, 16}), "multiples of 16");
  expect_refused(encoded(16, {40, 32}), "16 values from 32");
  expect_refused(encoded(16, {40, 48}), "16 values from 48");
  expect_refused(encoded(16, {41, 0}), "bytes");
  expect_refused([&] { decode_piece(bytes, {40, 8}, format, values); }, "multiples of 16");
}

}  // namespace
}  // namespace cpdcomm::testing
