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

/// What travels, and how partial sums join. Knows tensors and formats, but no peers.
///
/// A message of a slice is the concatenation of its ranges' bytes, so each starts on a byte.
class Reduction {
 public:
  virtual ~Reduction() = default;

  virtual std::size_t tensors() const = 0;
  virtual std::size_t count(std::size_t tensor) const = 0;
  /// Values between which a tensor may be cut without changing a bit.
  virtual std::size_t alignment(std::size_t tensor) const = 0;

  /// Bytes of `count` values of a tensor in a message with this payload of `parts` ranks' parts.
  virtual std::size_t bytes(std::size_t tensor, std::size_t count, Payload payload,
                            int parts) const = 0;

  /// Encodes this rank's own part.
  virtual void encode_part(Slice slice, std::byte* out) = 0;
  /// Joins the inputs in their order, this rank's own part after `own_after` of them, and encodes
  /// what comes out as a partial sum or as the result.
  virtual void join(Slice slice, std::span<const Input> inputs, std::size_t own_after,
                    Payload payload, std::byte* out) = 0;
  /// Decodes a result into the tensors.
  virtual void deliver(Slice slice, const std::byte* result) = 0;
};

}  // namespace cpdcomm::reduction
