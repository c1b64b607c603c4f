#include "allreduce/buffer.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <vector>

#include "reduction/element.hpp"

namespace cpdcomm::perf {
namespace {

constexpr std::size_t kPage = 4096;

}  // namespace

void Buffer::Free::operator()(std::byte* bytes) const { std::free(bytes); }

Buffer::Buffer(DataType type, std::size_t count) : type_(type), count_(count) {
  const std::size_t pages = count * size_of(type) / kPage + 1;
  bytes_.reset(static_cast<std::byte*>(std::aligned_alloc(kPage, pages * kPage)));
  if (bytes_ == nullptr) throw std::bad_alloc();
  std::memset(bytes_.get(), 0, pages * kPage);
}

std::span<const std::byte> Buffer::bytes(std::size_t first, std::size_t count) const {
  return {at(first), count * size_of(type_)};
}

void Buffer::store(std::size_t first, std::span<const float> values) {
  if (type_ == DataType::fp64) {
    std::copy(values.begin(), values.end(), reinterpret_cast<double*>(at(first)));
  } else {
    reduction::codec_of(type_).encode(values.data(), values.size(), {}, at(first));
  }
}

void Buffer::copy(const Buffer& from, std::size_t count) {
  std::memcpy(bytes_.get(), from.data(), count * size_of(type_));
}

void Buffer::spoil(std::size_t count) {
  // All bits set is a NaN in every type.
  std::memset(bytes_.get(), 0xff, count * size_of(type_));
}

void Buffer::load(std::size_t first, std::span<double> values) const {
  if (type_ == DataType::fp64) {
    std::copy_n(reinterpret_cast<const double*>(at(first)), values.size(), values.begin());
    return;
  }
  std::vector<float> exact(values.size());
  reduction::codec_of(type_).decode(at(first), exact.size(), exact.data());
  std::copy(exact.begin(), exact.end(), values.begin());
}

void round_to(DataType type, std::span<float> values) {
  if (type == DataType::fp64) return;
  reduction::codec_of(type).round(values.data(), values.size(), {}, values.data());
}

}  // namespace cpdcomm::perf
