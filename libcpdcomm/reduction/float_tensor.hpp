#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "codec/codec.hpp"
#include "cpdcomm/communicator.hpp"

namespace cpdcomm::reduction {

/// A tensor of floats on its way over a wire format.
struct FloatTensor {
  std::vector<const void*> sources;  ///< this rank's part, or one per emulated node
  void* destination;
  std::size_t count;
  DataType type;  ///< of the destination
  codec::Codec codec = codec::codec_for(Format());
  /// One per `group` values (0: one for all), as agreed between the ranks; empty: no scaling. What
  /// is scaled saturates; kNothing does not scale; kNonFinite makes the results NaN, whatever the
  /// format. So a format that takes no scale can be told, too, that a tensor is not finite.
  std::span<const std::int16_t> exponents = {};
  std::size_t group = 0;
  /// The exponents only say whether a tensor is finite: it is not scaled.
  bool only_judged = false;
  // What names the random words of its values:
  std::uint32_t place = 0;  ///< in the call
  std::uint64_t first = 0;  ///< where its first value stands in the call's tensor that it is of
  std::optional<DataType> source_type = {};  ///< where it is not `type`
  /// Error feedback: `count` values in the scale of the sources, which they are added to before all
  /// else. What the cast of the sum loses takes their place, value by value where the cast is
  /// finite, and nowhere when one of the `exponents` is kNonFinite. One source only.
  float* residual = nullptr;
  /// The parts are multiplied by 2^input_exponent (`exponents` are of what comes out), the results
  /// by 2^output_exponent: as parts of the scaling, with no rounding of their own. Where a format
  /// takes no scale, and for FP32 inside a host, the factor is applied first. From -126 to 126.
  int input_exponent = 0;
  int output_exponent = 0;
  /// Of parts inside a host; empty: the wire format, and hosts' sums are kept as all others.
  std::optional<codec::Codec> inner = {};
  /// `delayed` scaling: ranks times emulated nodes, for the exponent that messages carry beside the
  /// values. 0: they carry none. `exponents` is then the one of the call before.
  std::uint64_t delayed_world = 0;

  DataType input_type() const { return source_type.value_or(type); }
  bool is_delayed() const { return delayed_world != 0; }
};

/// Whether values are multiplied by a power of two before they are cast to a format (APS).
inline bool takes_scale(const codec::Codec& codec) {
  return codec.layout().block == 0 && !codec.format().is_fp32();
}

}  // namespace cpdcomm::reduction
