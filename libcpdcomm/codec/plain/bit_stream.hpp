#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace cpdcomm::codec {

static_assert(std::endian::native == std::endian::little, "the wire is little-endian");

/// Writes codes of 1 to 32 bits one after the other, least significant bit first.
class BitWriter {
 public:
  BitWriter(std::byte* out, int bits) : out_(out), bits_(bits) {}

  void put(std::uint32_t code) {
    pending_ |= static_cast<std::uint64_t>(code) << filled_;
    filled_ += bits_;
    if (filled_ >= 32) {
      std::memcpy(out_, &pending_, 4);
      out_ += 4;
      pending_ >>= 32;
      filled_ -= 32;
    }
  }

  /// Writes what is pending; the unused bits of the last byte are 0.
  void finish() {
    for (; filled_ > 0; filled_ -= 8, pending_ >>= 8) {
      *out_++ = static_cast<std::byte>(pending_ & 0xffu);
    }
  }

 private:
  std::byte* out_;
  std::uint64_t pending_ = 0;
  int filled_ = 0;
  int bits_;
};

/// Reads what BitWriter wrote, never past `size` bytes.
class BitReader {
 public:
  BitReader(const std::byte* in, std::size_t size, int bits)
      : in_(in), end_(in + size), bits_(bits), mask_((std::uint64_t{1} << bits) - 1) {}

  std::uint32_t get() {
    if (filled_ < bits_) refill();
    const auto code = static_cast<std::uint32_t>(pending_ & mask_);
    pending_ >>= bits_;
    filled_ -= bits_;
    return code;
  }

 private:
  void refill() {
    if (end_ - in_ >= 4) {
      std::uint32_t word;
      std::memcpy(&word, in_, 4);
      in_ += 4;
      pending_ |= static_cast<std::uint64_t>(word) << filled_;
      filled_ += 32;
      return;
    }
    for (; in_ != end_; filled_ += 8) {
      pending_ |= static_cast<std::uint64_t>(*in_++) << filled_;
    }
  }

  const std::byte* in_;
  const std::byte* end_;
  std::uint64_t pending_ = 0;
  int filled_ = 0;
  int bits_;
  std::uint64_t mask_;
};

}  // namespace cpdcomm::codec
