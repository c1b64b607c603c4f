#pragma once

#include "reduction/casts.hpp"
#include "reduction/float_messages.hpp"
#include "reduction/own_part.hpp"

namespace cpdcomm::reduction {

/// A host's part: the sum of its ranks' parts, or of the nodes that this rank emulates.
class HostPart {
 public:
  HostPart(const Summation& summation, const FloatMessages& messages, const Casts& casts,
           const OwnPart& own, std::size_t nodes)
      : summation_(summation), messages_(messages), casts_(casts), own_(own), nodes_(nodes) {}

  /// Whether it is a sum, not this rank's own part alone. A pair is one, of one part if need be.
  bool is_sum(const FloatTensor& tensor, const Host& host) const {
    return nodes_ > 1 || !host.inputs.empty() || messages_.part_is_pair(tensor);
  }
  /// How many parts it holds.
  std::size_t parts(const Host& host) const { return nodes_ > 1 ? nodes_ : host.inputs.size() + 1; }

  /// Sums into scratch.own: in the wire format by the rule of all sums; in another format inside
  /// the host in FP32, at the scale of that format.
  void sum(const Block& block, const Host& host, Scratch& scratch) const;
  /// How scratch.own is cast on its way into the wire format.
  CastOptions cast(const Block& block, const Host& host) const;

 private:
  const Summation& summation_;
  const FloatMessages& messages_;
  const Casts& casts_;
  const OwnPart& own_;
  std::size_t nodes_;
};

}  // namespace cpdcomm::reduction
