#pragma once

#include "reduction/summation.hpp"

namespace cpdcomm::reduction {

/// Partial sums in FP32; the wire format rounds them when they travel, and nowhere else.
class Wide final : public Summation {
 public:
  bool only_adds() const override { return true; }
  void add(PartialSum& to, const float* part, std::size_t count, const Cast& cast) const override;
  void join(PartialSum& to, const PartialSum& later, std::size_t count,
            const Cast& cast) const override;
};

}  // namespace cpdcomm::reduction
