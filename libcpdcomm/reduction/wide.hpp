#pragma once

#include "reduction/float_reduction.hpp"

namespace cpdcomm::reduction {

/// Partial sums in FP32; the wire format rounds them when they travel, and nowhere else.
class Wide final : public FloatReduction {
 public:
  using FloatReduction::FloatReduction;

 protected:
  bool only_adds() const override { return true; }
  void add(PartialSum& to, const float* part, std::size_t count, const Cast& cast) const override;
  void join(PartialSum& to, const PartialSum& later, std::size_t count,
            const Cast& cast) const override;
};

}  // namespace cpdcomm::reduction
