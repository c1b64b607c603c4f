#pragma once

#include "reduction/summation.hpp"

namespace cpdcomm::reduction {

/// Partial sums in the wire format: res = Q(res + g) after every addition (CPD's normal sum).
class Rounded final : public Summation {
 public:
  void add(PartialSum& to, const float* part, std::size_t count, const Cast& cast) const override;
  void join(PartialSum& to, const PartialSum& later, std::size_t count,
            const Cast& cast) const override;
};

}  // namespace cpdcomm::reduction
