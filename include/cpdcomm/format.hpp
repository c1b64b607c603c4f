#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "cpdcomm/export.hpp"

namespace cpdcomm {

/// A wire format: how one value is written in few bits.
///
/// `eXmY` is an IEEE-like float of 1 sign, X exponent and Y mantissa bits (1 <= X <= 8,
/// 0 <= Y <= 23) with subnormals; its top exponent code is Inf/NaN. `fp32` is `e8m23` and the
/// identity; `bf16` is `e8m7`, `fp16` is `e5m10`. Note that `e4m3` (largest value 240) is not the
/// `e4m3fn` (448) of today's accelerators.
///
/// A small value type, equal when the formats are; default-constructed it is `fp32`.
class Format {
 public:
  constexpr Format() = default;

  /// `eXmY` from its two widths (CPD's `exp, man`).
  /// @throws Error invalid_argument unless 1 <= exp_bits <= 8 and 0 <= man_bits <= 23
  CPDCOMM_API static Format floating(int exp_bits, int man_bits);

  /// Reads "fp32", "bf16", "fp16" or "eXmY".
  /// @throws Error invalid_argument that names `text` and lists the known names
  CPDCOMM_API static Format parse(std::string_view text);

  /// The shortest name; `parse(to_string()) == *this`.
  CPDCOMM_API std::string to_string() const;

  constexpr int exp_bits() const { return exp_bits_; }
  constexpr int man_bits() const { return man_bits_; }
  /// Bits of one value on the wire.
  constexpr int code_bits() const { return 1 + exp_bits_ + man_bits_; }
  /// Exponent of the smallest normal value; subnormals are multiples of 2^(emin - man_bits).
  constexpr int emin() const { return 1 - bias(); }
  /// Exponent of the largest binade; for one exponent bit, which has no normal values, 0.
  constexpr int emax() const { return bias(); }
  constexpr int bias() const { return (1 << (exp_bits_ - 1)) - 1; }
  /// Whether a cast is a bitwise copy.
  constexpr bool is_fp32() const { return exp_bits_ == 8 && man_bits_ == 23; }

  friend constexpr bool operator==(const Format&, const Format&) = default;

 private:
  constexpr Format(int exp_bits, int man_bits)
      : exp_bits_(static_cast<std::uint8_t>(exp_bits)),
        man_bits_(static_cast<std::uint8_t>(man_bits)) {}

  std::uint8_t exp_bits_ = 8;
  std::uint8_t man_bits_ = 23;
};

}  // namespace cpdcomm
