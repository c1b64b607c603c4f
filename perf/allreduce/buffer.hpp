#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "cpdcomm/communicator.hpp"

namespace cpdcomm::perf {

/// A vector of values of one float type, in memory that begins with a page and has been touched.
class Buffer {
 public:
  Buffer(DataType type, std::size_t count);

  DataType type() const { return type_; }
  std::size_t count() const { return count_; }
  void* data() { return bytes_.get(); }
  const void* data() const { return bytes_.get(); }
  /// The bytes of some values.
  std::span<const std::byte> bytes(std::size_t first, std::size_t count) const;

  /// Rounds values to the type and keeps them from value `first` on.
  void store(std::size_t first, std::span<const float> values);
  /// Copies the first `count` values of another of the same type.
  void copy(const Buffer& from, std::size_t count);
  /// Makes the first `count` values NaN.
  void spoil(std::size_t count);
  /// Values from `first` on, exact.
  void load(std::size_t first, std::span<double> values) const;

 private:
  struct Free {
    void operator()(std::byte* bytes) const;
  };

  std::byte* at(std::size_t value) const { return bytes_.get() + value * size_of(type_); }

  DataType type_;
  std::size_t count_;
  std::unique_ptr<std::byte[], Free> bytes_;
};

/// Rounds FP32 values to what a type can hold; double holds them all.
void round_to(DataType type, std::span<float> values);

}  // namespace cpdcomm::perf
