#include "reduction/rounded.hpp"

namespace cpdcomm::reduction {

void Rounded::add(PartialSum& to, const float* part, std::size_t count, const Cast& cast) const {
  for (std::size_t i = 0; i < count; ++i) to.sum[i] += part[i];
  cast(to.sum.data(), count);
}

void Rounded::join(PartialSum& to, const PartialSum& later, std::size_t count,
                   const Cast& cast) const {
  add(to, later.sum.data(), count, cast);
}

}  // namespace cpdcomm::reduction
