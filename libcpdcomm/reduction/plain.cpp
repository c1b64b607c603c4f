#include "reduction/plain.hpp"

#include <fmt/format.h>

#include <cmath>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "numerics/cast.hpp"

namespace cpdcomm::reduction {
namespace {

/// FP16 or BF16 as stored: its bits are an eXmY code.
template <int ExpBits, int ManBits>
struct Half {
  std::uint16_t code;
  static constexpr numerics::FloatLayout layout{ExpBits, ManBits};
  operator float() const { return numerics::decode_value(code, layout); }
  static Half of(float value) {
    return {static_cast<std::uint16_t>(numerics::encode_value(value, 0, layout, false))};
  }
};
using Bf16 = Half<8, 7>;
using Fp16 = Half<5, 10>;

template <typename T>
struct IsHalf : std::false_type {};
template <int E, int M>
struct IsHalf<Half<E, M>> : std::true_type {};

template <typename F>
void with_type(DataType type, F&& work) {
  switch (type) {
    case DataType::fp32:
      return work(float{});
    case DataType::bf16:
      return work(Bf16{});
    case DataType::fp16:
      return work(Fp16{});
    case DataType::fp64:
      return work(double{});
    case DataType::int8:
      return work(std::int8_t{});
    case DataType::uint8:
      return work(std::uint8_t{});
    case DataType::int16:
      return work(std::int16_t{});
    case DataType::int32:
      return work(std::int32_t{});
    case DataType::int64:
      return work(std::int64_t{});
  }
}

/// Integers wrap on overflow, as MPI's and torch's do; unsigned arithmetic makes that defined.
template <std::integral T>
T combine(ReduceOp op, T a, T b) {
  using Wide = std::uint64_t;
  switch (op) {
    case ReduceOp::sum:
      return static_cast<T>(static_cast<Wide>(a) + static_cast<Wide>(b));
    case ReduceOp::product:
      return static_cast<T>(static_cast<Wide>(a) * static_cast<Wide>(b));
    case ReduceOp::min:
      return b < a ? b : a;
    case ReduceOp::max:
      return a < b ? b : a;
    case ReduceOp::bit_and:
      return static_cast<T>(a & b);
    case ReduceOp::bit_or:
      return static_cast<T>(a | b);
    default:
      return static_cast<T>(a ^ b);
  }
}

/// NaN wins minimum and maximum, so that none is lost.
template <std::floating_point T>
T combine(ReduceOp op, T a, T b) {
  switch (op) {
    case ReduceOp::product:
      return a * b;
    case ReduceOp::min:
      return std::isnan(a) || a < b ? a : b;
    case ReduceOp::max:
      return std::isnan(a) || a > b ? a : b;
    default:
      return a + b;
  }
}

template <typename T>
T combine_any(ReduceOp op, T a, T b) {
  if constexpr (IsHalf<T>::value) {
    return T::of(combine<float>(op, a, b));
  } else {
    return combine<T>(op, a, b);
  }
}

template <typename T>
T divide(T value, int ranks) {
  if constexpr (IsHalf<T>::value) {
    return T::of(static_cast<float>(value) / static_cast<float>(ranks));
  } else {
    return static_cast<T>(value / static_cast<T>(ranks));
  }
}

template <typename T>
T load(const std::byte* from, std::size_t index) {
  T value;
  std::memcpy(&value, from + index * sizeof(T), sizeof(T));
  return value;
}

/// `out` becomes out op in, element by element; neither need be aligned.
template <typename T>
void combine_all(ReduceOp op, std::byte* out, const std::byte* in, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) {
    const T value = combine_any<T>(op, load<T>(out, i), load<T>(in, i));
    std::memcpy(out + i * sizeof(T), &value, sizeof(T));
  }
}

/// Room for `size` bytes that a thread keeps.
std::vector<std::byte>& scratch(std::size_t size) {
  thread_local std::vector<std::byte> room;
  if (room.size() < size) room.resize(size);
  return room;
}

bool is_float(DataType type) {
  return type == DataType::fp32 || type == DataType::fp64 || type == DataType::bf16 ||
         type == DataType::fp16;
}

}  // namespace

void check_operator(ReduceOp op, DataType type) {
  const bool bitwise = op == ReduceOp::bit_and || op == ReduceOp::bit_or || op == ReduceOp::bit_xor;
  if ((is_float(type) && bitwise) || (!is_float(type) && op == ReduceOp::average)) {
    throw Error(ErrorCode::unsupported,
                fmt::format("'{}' is not defined for {}: floats take sum, avg, product, min and "
                            "max, integers sum, product, min, max, band, bor and bxor",
                            cpdcomm::to_string(op), cpdcomm::to_string(type)));
  }
}

Plain::Plain(std::vector<PlainTensor> tensors, ReduceOp op, int ranks)
    : tensors_(std::move(tensors)), op_(op), ranks_(ranks) {
  for (const PlainTensor& tensor : tensors_) check_operator(op, tensor.type);
}

const std::byte* Plain::own_part(const Range& range) const {
  const PlainTensor& tensor = tensors_[range.tensor];
  return static_cast<const std::byte*>(tensor.source) + range.first * size_of(tensor.type);
}

void Plain::combine_range(const Range& range, std::byte* out, const std::byte* in) const {
  with_type(tensors_[range.tensor].type,
            [&](auto zero) { combine_all<decltype(zero)>(op_, out, in, range.count); });
}

/// @param offset  where the range's bytes stand in the inputs
void Plain::join_host(const Range& range, std::size_t offset, const Host& host,
                      std::byte* out) const {
  const std::size_t size = range.count * size_of(tensors_[range.tensor].type);
  for (std::size_t place = 0; place <= host.inputs.size(); ++place) {
    const std::size_t input = place < host.own_after ? place : place - 1;
    const std::byte* from =
        place == host.own_after ? own_part(range) : host.inputs[input].bytes + offset;
    if (place == 0) {
      std::memcpy(out, from, size);
    } else {
      combine_range(range, out, from);
    }
  }
}

void Plain::join_range(const Range& range, std::size_t offset, const Join& join,
                       std::byte* out) const {
  if (join.own_after == 0) join_host(range, offset, join.host, out);
  for (std::size_t i = 0; i < join.inputs.size(); ++i) {
    const std::byte* from = join.inputs[i].bytes + offset;
    if (i == 0 && join.own_after > 0) {
      std::memcpy(out, from, range.count * size_of(tensors_[range.tensor].type));
    } else {
      combine_range(range, out, from);
    }
    if (i + 1 != join.own_after) continue;
    std::vector<std::byte>& host = scratch(range.count * size_of(tensors_[range.tensor].type));
    join_host(range, offset, join.host, host.data());
    combine_range(range, out, host.data());
  }
}

void Plain::encode_part(Slice slice, const Host& host, Leg /*leg*/, std::byte* out) {
  std::size_t offset = 0;
  for (const Range& range : slice) {
    join_host(range, offset, host, out + offset);
    offset += range.count * size_of(tensors_[range.tensor].type);
  }
}

void Plain::join(Slice slice, const Join& join, Content /*content*/, std::byte* out) {
  std::size_t offset = 0;
  for (const Range& range : slice) {
    join_range(range, offset, join, out + offset);
    offset += range.count * size_of(tensors_[range.tensor].type);
  }
}

void Plain::keep(Slice slice, const Join& join) {
  std::size_t offset = 0;
  std::vector<std::byte> sum;
  for (const Range& range : slice) {
    sum.resize(range.count * size_of(tensors_[range.tensor].type));
    join_range(range, offset, join, sum.data());
    deliver({&range, 1}, sum.data());
    offset += sum.size();
  }
}

void Plain::deliver(Slice slice, const std::byte* result) {
  for (const Range& range : slice) {
    const PlainTensor& tensor = tensors_[range.tensor];
    const std::size_t width = size_of(tensor.type);
    if (tensor.destination == nullptr) {
      result += range.count * width;
      continue;
    }
    auto* destination = static_cast<std::byte*>(tensor.destination) + range.first * width;
    std::memcpy(destination, result, range.count * width);
    if (op_ == ReduceOp::average) {
      with_type(tensor.type, [&](auto zero) {
        using T = decltype(zero);
        for (std::size_t i = 0; i < range.count; ++i) {
          const T value = divide(load<T>(destination, i), ranks_);
          std::memcpy(destination + i * sizeof(T), &value, sizeof(T));
        }
      });
    }
    result += range.count * width;
  }
}

}  // namespace cpdcomm::reduction
