#include "reduction/rounded.hpp"

#include "codec/arrays.hpp"

namespace cpdcomm::reduction {

void Rounded::add(PartialSum& to, const float* part, std::size_t count, const Cast& cast) const {
  codec::add(to.sum.data(), part, count);
  cast(to.sum.data(), count);
}

void Rounded::join(PartialSum& to, const PartialSum& later, std::size_t count,
                   const Cast& cast) const {
  add(to, later.sum.data(), count, cast);
}

}  // namespace cpdcomm::reduction
