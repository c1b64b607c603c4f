#include "tensor_ops.hpp"

#include <pybind11/pybind11.h>

#include <limits>

#include "cpdcomm/codec.hpp"
#include "cpdcomm/error.hpp"
#include "tensors.hpp"

namespace cpdcomm::torch_adapter {
namespace {

void check_float(const at::Tensor& x, const char* function) {
  check_cpu(x, std::string(function) + "'s tensor");
  const auto type = x.scalar_type();
  if (type == at::kFloat || type == at::kBFloat16 || type == at::kHalf) return;
  throw pybind11::type_error(std::string(function) + " takes float32, bfloat16 and float16, not " +
                             dtype_name(x));
}

std::span<const float> floats_of(const at::Tensor& x) {
  return {x.const_data_ptr<float>(), static_cast<std::size_t>(x.numel())};
}

/// x as contiguous float32; the same memory where x is that already.
at::Tensor as_floats(const at::Tensor& x) {
  return x.detach().resolve_neg().to(at::kFloat).contiguous();
}

at::Tensor quantize_to(const at::Tensor& x, Format format, bool saturate, const char* function) {
  check_float(x, function);
  const at::Tensor in = as_floats(x);
  at::Tensor out = at::empty(in.sizes(), in.options());
  cpdcomm::quantize(floats_of(in), format, {out.data_ptr<float>(), floats_of(in).size()},
                    {0, saturate});
  return out.to(x.scalar_type());
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

at::Tensor quantize(const at::Tensor& x, const std::string& format, bool saturate) {
  return quantize_to(x, Format::parse(format), saturate, "quantize");
}

at::Tensor float_quantize(const at::Tensor& x, int exp, int man, bool saturate) {
  return quantize_to(x, Format::floating(exp, man), saturate, "float_quantize");
}

at::Tensor encode(const at::Tensor& x, const std::string& name, bool saturate) {
  const Format format = Format::parse(name);
  check_float(x, "encode");
  const at::Tensor in = as_floats(x);
  const std::size_t size = encoded_size(format, floats_of(in).size());
  at::Tensor out = at::empty({static_cast<std::int64_t>(size)}, at::kByte);
  cpdcomm::encode(floats_of(in), format, bytes_of(out), {0, saturate});
  return out;
}

at::Tensor decode(const at::Tensor& data, const std::string& name, std::int64_t numel) {
  const Format format = Format::parse(name);
  check_encoded(data, format, numel);
  const at::Tensor in = data.contiguous();
  at::Tensor out = at::empty({numel}, at::kFloat);
  cpdcomm::decode(bytes_of(in), format, {out.data_ptr<float>(), static_cast<std::size_t>(numel)});
  return out;
}

}  // namespace cpdcomm::torch_adapter
