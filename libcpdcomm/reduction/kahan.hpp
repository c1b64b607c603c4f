#pragma once

#include "reduction/summation.hpp"

namespace cpdcomm::reduction {

/// Compensated sums in the wire format (Kahan 1965; CPD's kahan sum): a partial sum is a pair, the
/// sum and what its roundings have lost so far. Both travel.
class Kahan final : public Summation {
 public:
  bool has_compensation() const override { return true; }
  void add(PartialSum& to, const float* part, std::size_t count, const Cast& cast) const override;
  void join(PartialSum& to, const PartialSum& later, std::size_t count,
            const Cast& cast) const override;
};

}  // namespace cpdcomm::reduction
