#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "payload.hpp"

namespace cpdcomm::reduction {

/// Values first .. first + count of one tensor.
struct Range {
  std::size_t tensor;
  std::size_t first;
  std::size_t count;

  friend bool operator==(const Range&, const Range&) = default;
};

/// What is encoded and sent at once: pieces of one or more tensors.
using Slice = std::span<const Range>;

/// A received message, as it takes part in a join.
struct Input {
  const std::byte* bytes;
  Payload payload;
  int parts;
};

/// Parts of other ranks of this host, in their order; this rank's own part stands after `own_after`
/// of them. Together they are the host's part; without inputs this rank's own is.
struct Host {
  std::span<const Input> inputs = {};
  std::size_t own_after = 0;
};

/// What joins, in its order: the host's part after `own_after` of the inputs.
struct Join {
  std::span<const Input> inputs;
  std::size_t own_after;
  Host host = {};
};

/// What travels, and how partial sums join. Knows tensors and formats, but no peers.
///
/// A message of a slice is the concatenation of its ranges' bytes, so each starts on a byte.
/// Several threads may work on different slices at once.
class Reduction {
 public:
  virtual ~Reduction() = default;

  virtual std::size_t tensors() const = 0;
  virtual std::size_t count(std::size_t tensor) const = 0;
  /// Values between which a tensor may be cut without changing a bit.
  virtual std::size_t alignment(std::size_t tensor) const = 0;

  /// Bytes of `count` values of a tensor in a message.
  virtual std::size_t bytes(std::size_t tensor, std::size_t count, Content content) const = 0;

  /// Encodes the host's part, or inside a host this rank's own, which then has no inputs.
  virtual void encode_part(Slice slice, const Host& host, Leg leg, std::byte* out) = 0;
  /// Encodes what comes out of a join as a partial sum or as the result.
  virtual void join(Slice slice, const Join& join, Content content, std::byte* out) = 0;
  /// Puts what comes out of a join of all parts into the tensors as it is, without a last cast.
  virtual void keep(Slice slice, const Join& join) = 0;
  /// Decodes a result into the tensors.
  virtual void deliver(Slice slice, const std::byte* result) = 0;
};

}  // namespace cpdcomm::reduction
