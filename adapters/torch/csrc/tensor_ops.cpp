#include "tensor_ops.hpp"

#include <ATen/MemoryOverlap.h>
#include <pybind11/pybind11.h>

#include <bit>
#include <limits>

#include "cpdcomm/codec.hpp"
#include "cpdcomm/error.hpp"
#include "cpdcomm/geometry.hpp"
#include "pieces.hpp"
#include "tensors.hpp"

namespace cpdcomm::torch_adapter {
namespace {

/// A format and how values are cast to it.
struct Cast {
  Format format;
  CastOptions options;

  /// Values between which a tensor may be cut.
  std::size_t unit() const { return std::max<std::size_t>(8, format.block()); }
  CastOptions from(std::size_t first) const {
    CastOptions shifted = options;
    if (shifted.stochastic) shifted.stochastic->first += first;
    return shifted;
  }
};

void check_float(const at::Tensor& x, const char* function) {
  check_cpu(x, std::string(function) + "'s tensor");
  const auto type = x.scalar_type();
  if (type == at::kFloat || type == at::kBFloat16 || type == at::kHalf) return;
  throw pybind11::type_error(std::string(function) + " takes float32, bfloat16 and float16, not " +
                             dtype_name(x));
}

std::size_t count_of(const at::Tensor& x) { return static_cast<std::size_t>(x.numel()); }

at::Tensor contiguous(const at::Tensor& x) { return x.detach().resolve_neg().contiguous(); }

std::vector<std::size_t> shape_of(const at::Tensor& x) {
  return {x.sizes().begin(), x.sizes().end()};
}

Cast cast_of(Format format, const OptionalTensor& seed, bool saturate) {
  CastOptions options{.saturate = saturate};
  if (seed) {
    check_cpu(*seed, "the seed");
    TORCH_CHECK(seed->scalar_type() == at::kLong && seed->numel() == 1,
                "the seed must be one int64 value");
    const auto value = static_cast<std::uint32_t>(*seed->const_data_ptr<std::int64_t>());
    options.stochastic = RandomStream{.seed = value};
  }
  return {format, options};
}

// Values by themselves, and the blocks of the wire.

template <typename T>
void round_piece(const T* in, std::size_t first, std::size_t last, const Cast& cast, T* out) {
  if constexpr (std::is_same_v<T, float>) {
    cpdcomm::quantize({in + first, last - first}, cast.format, {out + first, last - first},
                      cast.from(first));
  } else {
    in_tiles(in, first, last, cast.unit(), [&](std::size_t at, std::span<float> tile) {
      cpdcomm::quantize(tile, cast.format, tile, cast.from(at));
      std::transform(tile.begin(), tile.end(), out + at,
                     [](float value) { return static_cast<T>(value); });
    });
  }
}

void round_tensor(const at::Tensor& in, const Cast& cast, const at::Tensor& out) {
  with_type_of(in, [&]<typename T>(T*) {
    const T* from = in.const_data_ptr<T>();
    T* to = out.data_ptr<T>();
    in_pieces(count_of(in), cast.unit(), [&](std::size_t first, std::size_t last) {
      round_piece(from, first, last, cast, to);
    });
  });
}

template <typename T>
void encode_values(const T* in, std::size_t first, std::size_t last, std::size_t count,
                   const Cast& cast, std::span<std::byte> bytes) {
  const auto encode = [&](std::size_t at, std::span<const float> values) {
    encode_piece(values, {count, at}, cast.format, bytes, cast.from(at));
  };
  if constexpr (std::is_same_v<T, float>) {
    encode(first, {in + first, last - first});
  } else {
    in_tiles(in, first, last, cast.unit(), encode);
  }
}

// Other blocks.

/// A tensor as float32 with the blocks that a geometry gives it.
struct Blocked {
  std::span<const float> values;
  std::vector<std::size_t> shape;
  Geometry geometry;
};

std::int64_t at_least_one(std::int64_t number, const char* what) {
  if (number >= 1) return number;
  throw Error(ErrorCode::invalid_argument,
              std::string(what) + " is " + std::to_string(number) + "; it must be at least 1");
}

int dimension_of(std::int64_t number) {
  using Limits = std::numeric_limits<int>;
  return static_cast<int>(std::clamp<std::int64_t>(number, Limits::min(), Limits::max()));
}

Geometry geometry_of(const OptionalName& name, at::IntArrayRef numbers, Format format) {
  if (!name) {
    // A float format has none; the library says so, whatever the geometry.
    return format.is_float() ? Geometry::tensor() : Geometry::flat(format.block());
  }
  const auto size = [&](const char* what) {
    TORCH_CHECK(!numbers.empty(), "the geometry's size is missing");
    return static_cast<std::size_t>(at_least_one(numbers[0], what));
  };
  if (*name == "flat") return Geometry::flat(size("the block of a flat geometry"));
  if (*name == "tensor") return Geometry::tensor();
  if (*name == "axes") {
    std::vector<int> axes;
    for (const std::int64_t number : numbers) axes.push_back(dimension_of(number));
    return Geometry::axes(std::move(axes));
  }
  TORCH_CHECK(*name == "tiles" && numbers.size() == 3, "unknown geometry '", *name, "'");
  return Geometry::tiles(size("the side of a tile"), dimension_of(numbers[1]),
                         dimension_of(numbers[2]));
}

/// Calls work(panels) from torch's threads.
template <typename F>
void in_panels(const Blocked& in, F&& work) {
  const std::size_t panels = panel_count(in.shape, in.geometry);
  const std::size_t values = in.values.size() / std::max<std::size_t>(1, panels);
  const std::size_t grain = std::max<std::size_t>(1, kGrain / std::max<std::size_t>(1, values));
  // No panel is no work, but wrong arguments are told all the same.
  if (panels == 0) return work(PanelRange{});
  at::parallel_for(
      0, static_cast<std::int64_t>(panels), static_cast<std::int64_t>(grain),
      [&](std::int64_t begin, std::int64_t end) {
        work(PanelRange{static_cast<std::size_t>(begin), static_cast<std::size_t>(end)});
      });
}

/// The scale of values that are one block: the largest of its pieces' scales, because a scale grows
/// with the largest magnitude. As bits, which compare like the numbers, NaN above all, whatever the
/// caller's threads do to subnormals.
std::uint32_t scale_bits_of_pieces(std::span<const float> values, Format format) {
  const auto larger = [](std::uint32_t a, std::uint32_t b) { return std::max(a, b); };
  return at::parallel_reduce(
      0, static_cast<std::int64_t>(values.size()), static_cast<std::int64_t>(kGrain),
      std::uint32_t{0},
      [&](std::int64_t begin, std::int64_t end, std::uint32_t so_far) {
        const auto piece =
            values.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
        const std::size_t shape[] = {piece.size()};
        float scale = 0;
        cpdcomm::block_scales(piece, shape, format, Geometry::tensor(), {&scale, 1});
        return larger(so_far, std::bit_cast<std::uint32_t>(scale));
      },
      larger);
}

/// One block for all threads. False, and nothing done, where it must be seen as a whole: without a
/// scale that could be given.
bool round_one_block(const Blocked& in, const Cast& cast, std::span<const float> scales,
                     float* out) {
  const bool is_sum = cast.format.kind() == Format::Kind::sign && scales.empty();
  if (cast.format.is_float() || is_sum || in.values.size() <= kGrain || scales.size() > 1) {
    return false;
  }
  if (block_count(in.shape, in.geometry) != 1) return false;
  const std::uint32_t derived = scale_bits_of_pieces(in.values, cast.format);
  constexpr std::uint32_t kInfinity = 0x7f800000u;
  if (derived == 0 || derived >= kInfinity) return false;
  const float scale = scales.empty() ? std::bit_cast<float>(derived) : scales[0];
  in_pieces(in.values.size(), 8, [&](std::size_t first, std::size_t last) {
    const std::size_t shape[] = {last - first};
    cpdcomm::quantize(in.values.subspan(first, last - first), shape, cast.format,
                      Geometry::tensor(), {&scale, 1}, {out + first, last - first},
                      cast.from(first));
  });
  return true;
}

at::Tensor as_floats(const at::Tensor& x) { return contiguous(x).to(at::kFloat); }

Blocked blocked(const at::Tensor& floats, Geometry geometry) {
  return {
      {floats.const_data_ptr<float>(), count_of(floats)}, shape_of(floats), std::move(geometry)};
}

std::span<const float> scales_of(const at::Tensor& scales) {
  return {scales.const_data_ptr<float>(), count_of(scales)};
}

/// The given scales as contiguous float32, one that was a Python number among them; no values where
/// there are none.
at::Tensor given_scales(const OptionalTensor& scale) {
  if (!scale) return at::empty({0}, at::kFloat);
  if (scale->scalar_type() == at::kDouble && scale->dim() == 0) {
    const DefaultEnvironment environment;
    return at::full({1}, static_cast<float>(*scale->const_data_ptr<double>()), at::kFloat);
  }
  check_float(*scale, "scale");
  if (scale->numel() == 0) {
    throw Error(ErrorCode::invalid_argument, "scale has no values; one or one per block is taken");
  }
  return as_floats(*scale);
}

void round_blocks(const at::Tensor& x, const Cast& cast, Geometry geometry,
                  const OptionalTensor& scale, const at::Tensor& out) {
  const at::Tensor floats = as_floats(x);
  const at::Tensor given = given_scales(scale);
  const Blocked in = blocked(floats, std::move(geometry));
  at::Tensor rounded = out.scalar_type() == at::kFloat ? out : at::empty_like(floats);
  const std::span<float> to{rounded.data_ptr<float>(), in.values.size()};
  if (!round_one_block(in, cast, scales_of(given), to.data())) {
    in_panels(in, [&](PanelRange panels) {
      cpdcomm::quantize(in.values, in.shape, cast.format, in.geometry, scales_of(given), to,
                        cast.options, panels);
    });
  }
  if (!rounded.is_same(out)) out.copy_(rounded);
}

// Results.

at::Tensor empty_like_contiguous(const at::Tensor& x) {
  return at::empty(x.sizes(), x.options().requires_grad(false));
}

void check_out(const at::Tensor& x, const at::Tensor& out) {
  check_cpu(out, "out");
  if (out.scalar_type() != x.scalar_type()) {
    throw pybind11::type_error("out has dtype " + dtype_name(out) + "; x has " + dtype_name(x));
  }
  if (out.sizes() != x.sizes()) {
    throw Error(ErrorCode::invalid_argument,
                "out has shape " + c10::str(out.sizes()) + "; x has " + c10::str(x.sizes()));
  }
  at::assert_no_internal_overlap(out);
  at::assert_no_partial_overlap(out, x);
}

void check_encoded(const at::Tensor& data, Format format, std::int64_t numel) {
  check_cpu(data, "decode's data");
  if (data.scalar_type() != at::kByte) {
    throw pybind11::type_error("decode takes uint8 data, not " + dtype_name(data));
  }
  // Each value takes a bit at least, so more than 8 a byte cannot be meant.
  const std::int64_t most = data.numel() > std::numeric_limits<std::int64_t>::max() / 8
                                ? std::numeric_limits<std::int64_t>::max()
                                : data.numel() * 8;
  if (numel < 0 || numel > most) {
    throw Error(ErrorCode::invalid_argument,
                "numel is " + std::to_string(numel) + "; " + std::to_string(data.numel()) +
                    " bytes of " + format.to_string() + " hold between 0 and " +
                    std::to_string(most / format.code_bits()) + " values");
  }
}

}  // namespace

at::Tensor quantize(const at::Tensor& x, std::string_view format, const OptionalTensor& seed,
                    bool saturate, OptionalName geometry, at::IntArrayRef numbers,
                    const OptionalTensor& scale) {
  const Cast cast = cast_of(Format::parse(format), seed, saturate);
  check_float(x, "quantize");
  const at::Tensor out = empty_like_contiguous(x);
  if (geometry || scale) {
    round_blocks(x, cast, geometry_of(geometry, numbers, cast.format), scale, out);
  } else {
    round_tensor(contiguous(x), cast, out);
  }
  return out;
}

void quantize_out(const at::Tensor& x, std::string_view format, const OptionalTensor& seed,
                  bool saturate, OptionalName geometry, at::IntArrayRef numbers,
                  const OptionalTensor& scale, const at::Tensor& out) {
  const Cast cast = cast_of(Format::parse(format), seed, saturate);
  check_float(x, "quantize");
  check_out(x, out);
  const at::Tensor to = out.detach();
  to.unsafeGetTensorImpl()->bump_version();  // for autograd, which may have saved it
  if (!to.is_contiguous() || to.is_neg()) {
    to.copy_(quantize(x, format, seed, saturate, geometry, numbers, scale));
  } else if (geometry || scale) {
    round_blocks(x, cast, geometry_of(geometry, numbers, cast.format), scale, to);
  } else {
    round_tensor(contiguous(x), cast, to);
  }
}

at::Tensor float_quantize(const at::Tensor& x, std::int64_t exp, std::int64_t man, bool saturate) {
  const Format format = Format::floating(dimension_of(exp), dimension_of(man));
  const Cast cast = cast_of(format, std::nullopt, saturate);
  check_float(x, "float_quantize");
  const at::Tensor out = empty_like_contiguous(x);
  round_tensor(contiguous(x), cast, out);
  return out;
}

at::Tensor block_scales(const at::Tensor& x, std::string_view name, OptionalName geometry,
                        at::IntArrayRef numbers) {
  const Format format = Format::parse(name);
  check_float(x, "block_scales");
  const at::Tensor floats = as_floats(x);
  const Blocked in = blocked(floats, geometry_of(geometry, numbers, format));
  const auto blocks = static_cast<std::int64_t>(block_count(in.shape, in.geometry));
  const at::Tensor out = at::empty({blocks}, at::kFloat);
  const std::span<float> scales{out.data_ptr<float>(), count_of(out)};
  in_panels(in, [&](PanelRange panels) {
    cpdcomm::block_scales(in.values, in.shape, format, in.geometry, scales, panels);
  });
  return out;
}

at::Tensor encode(const at::Tensor& x, std::string_view name, const OptionalTensor& seed,
                  bool saturate) {
  const Cast cast = cast_of(Format::parse(name), seed, saturate);
  check_float(x, "encode");
  const at::Tensor in = contiguous(x);
  const std::size_t count = count_of(in);
  const std::size_t size = encoded_size(cast.format, count);
  const at::Tensor out = at::empty({static_cast<std::int64_t>(size)}, at::kByte);
  with_type_of(in, [&]<typename T>(T*) {
    const T* from = in.const_data_ptr<T>();
    in_pieces(count, cast.unit(), [&](std::size_t first, std::size_t last) {
      encode_values(from, first, last, count, cast, bytes_of(out));
    });
  });
  return out;
}

at::Tensor decode(const at::Tensor& data, std::string_view name, std::int64_t numel) {
  const Cast cast{Format::parse(name), {}};
  check_encoded(data, cast.format, numel);
  const at::Tensor in = data.contiguous();
  const at::Tensor out = at::empty({numel}, at::kFloat);
  const std::size_t count = count_of(out);
  const std::span<float> values{out.data_ptr<float>(), count};
  const auto decode_values = [&](std::size_t first, std::size_t last) {
    decode_piece(bytes_of(in), {count, first}, cast.format, values.subspan(first, last - first));
  };
  // No value is no work, but wrong bytes are told all the same.
  if (count == 0) decode_values(0, 0);
  in_pieces(count, cast.unit(), decode_values);
  return out;
}

}  // namespace cpdcomm::torch_adapter
