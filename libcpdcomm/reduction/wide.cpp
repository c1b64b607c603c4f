#include "reduction/wide.hpp"

namespace cpdcomm::reduction {

void Wide::add(PartialSum& to, const float* part, std::size_t count, const Cast& /*cast*/) const {
  for (std::size_t i = 0; i < count; ++i) to.sum[i] += part[i];
}

void Wide::join(PartialSum& to, const PartialSum& later, std::size_t count,
                const Cast& cast) const {
  add(to, later.sum.data(), count, cast);
}

}  // namespace cpdcomm::reduction
