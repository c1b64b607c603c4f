#include "reduction/wide.hpp"

#include "codec/arrays.hpp"

namespace cpdcomm::reduction {

void Wide::add(PartialSum& to, const float* part, std::size_t count, const Cast& /*cast*/) const {
  codec::add(to.sum.data(), part, count);
}

void Wide::join(PartialSum& to, const PartialSum& later, std::size_t count,
                const Cast& cast) const {
  add(to, later.sum.data(), count, cast);
}

}  // namespace cpdcomm::reduction
