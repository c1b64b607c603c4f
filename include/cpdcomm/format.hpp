#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "cpdcomm/export.hpp"

namespace cpdcomm {

/// A wire format: how values are written in few bits.
///
/// - `fp32`: the identity.
/// - `eXmY`: IEEE-like float of 1 + X + Y bits with Inf and NaN in its top exponent code;
///   `bf16` is `e8m7`, `fp16` is `e5m10`.
/// - `e4m3fn`, `e3m2fn`, `e2m3fn`, `e2m1fn`: OCP floats without Inf, saturating.
/// - `bfpK`, `bfpK:B`: block floating point, K-bit integers and one exponent byte per B values.
/// - `mxfp8e4m3`, `mxfp8e5m2`, `mxfp6e3m2`, `mxfp6e2m3`, `mxfp4`, `mxint8`: OCP microscaling,
///   elements of the format in the name and one exponent byte per 32 values.
/// - `intK`, `intK:B`: symmetric K-bit integers and one FP32 scale per B values.
/// - `sign`, `sign:B`: the sign bit, and one FP32 mean magnitude per B values.
///
/// 1 <= X <= 8, 0 <= Y <= 23, 2 <= K <= 24; B is a multiple of 8 from 8 to 65536, by default 64
/// for `bfp` and 512 for `int` and `sign`. Note that `e4m3` (largest value 240) is not the
/// `e4m3fn` (448) of today's accelerators.
///
/// A small value type, equal when the formats are; default-constructed it is `fp32`.
class Format {
 public:
  enum class Kind : std::uint8_t {
    floating,  ///< eXmY, fp32 among them
    finite,    ///< the fn variants: all codes are finite, but e4m3fn's NaN
    bfp,       ///< shared exponent, integers
    mx,        ///< shared exponent, elements of a float format or int8
    integer,   ///< shared FP32 scale, integers
    sign,      ///< shared FP32 magnitude, one bit
  };

  constexpr Format() = default;

  /// `eXmY` from its two widths (CPD's `exp, man`).
  /// @throws Error invalid_argument unless 1 <= exp_bits <= 8 and 0 <= man_bits <= 23
  CPDCOMM_API static Format floating(int exp_bits, int man_bits);

  /// Reads a name of the table above.
  /// @throws Error invalid_argument that names `text` and lists the known names
  CPDCOMM_API static Format parse(std::string_view text);

  /// The shortest name; `parse(to_string()) == *this`.
  CPDCOMM_API std::string to_string() const;

  constexpr Kind kind() const { return kind_; }
  /// Of a float, or of the elements of `mx`; 0 for integers.
  constexpr int exp_bits() const { return exp_bits_; }
  /// Of a float; of integers the bits of their magnitude.
  constexpr int man_bits() const { return man_bits_; }
  /// Bits of one value on the wire, scales aside.
  constexpr int code_bits() const { return 1 + exp_bits_ + man_bits_; }
  /// Values that share a scale; 0 for floats.
  constexpr std::size_t block() const { return block_; }
  /// Bytes of the scale of a block.
  constexpr std::size_t scale_bytes() const {
    if (block_ == 0) return 0;
    return kind_ == Kind::bfp || kind_ == Kind::mx ? 1 : 4;
  }
  /// Whether a cast is a bitwise copy.
  constexpr bool is_fp32() const { return kind_ == Kind::floating && code_bits() == 32; }
  /// Whether each value is rounded by itself, so that APS, `rounded` and `kahan` have a meaning.
  constexpr bool is_float() const { return kind_ == Kind::floating || kind_ == Kind::finite; }
  /// Whether an Inf or NaN is still none after decoding.
  constexpr bool hides_non_finite() const {
    return kind_ == Kind::finite && man_bits_ + exp_bits_ < 7;
  }

  friend constexpr bool operator==(const Format&, const Format&) = default;

 private:
  constexpr Format(Kind kind, int exp_bits, int man_bits, std::size_t block = 0)
      : kind_(kind),
        exp_bits_(static_cast<std::uint8_t>(exp_bits)),
        man_bits_(static_cast<std::uint8_t>(man_bits)),
        block_(static_cast<std::uint32_t>(block)) {}

  struct Named;
  static const Named kNamed[];

  Kind kind_ = Kind::floating;
  std::uint8_t exp_bits_ = 8;
  std::uint8_t man_bits_ = 23;
  std::uint32_t block_ = 0;
};

/// What a format can represent. Of a format with blocks in units of the block's scale: for `bfp`
/// the power of two above the largest value, for `mx` and `int` what is stored, for `sign` the
/// mean.
struct FormatInfo {
  int bits;                 ///< of one value, scales aside
  double bits_with_scales;  ///< of one value and its share of the scale
  double largest;           ///< largest finite value
  double smallest;          ///< smallest positive finite value; 0 for e1m0, which has none
  double smallest_normal;   ///< smallest positive value with all its mantissa bits
  double epsilon;           ///< distance from 1 to the next; of integers their step; of `sign` 0
};

CPDCOMM_API FormatInfo info(Format format);

}  // namespace cpdcomm
