#include "reduction/kahan.hpp"

#include <algorithm>

namespace cpdcomm::reduction {

// The lines of the compensated sum, each for a whole block, because a cast works on blocks.

void Kahan::add(PartialSum& to, const float* part, std::size_t count, const Cast& cast) const {
  // Scratch that grows to the largest tile once.
  thread_local std::vector<float> y;
  thread_local std::vector<float> t;
  y.resize(count);
  t.resize(count);
  for (std::size_t i = 0; i < count; ++i) y[i] = part[i] - to.compensation[i];
  cast(y.data(), count);
  for (std::size_t i = 0; i < count; ++i) t[i] = to.sum[i] + y[i];
  cast(t.data(), count);
  std::vector<float>& c = to.compensation;
  for (std::size_t i = 0; i < count; ++i) c[i] = t[i] - to.sum[i];
  cast(c.data(), count);
  for (std::size_t i = 0; i < count; ++i) c[i] -= y[i];
  cast(c.data(), count);
  std::copy_n(t.begin(), count, to.sum.begin());
}

void Kahan::join(PartialSum& to, const PartialSum& later, std::size_t count,
                 const Cast& cast) const {
  // As if the later sum were one part and the lost parts of both sums were one compensation.
  std::vector<float>& c = to.compensation;
  for (std::size_t i = 0; i < count; ++i) c[i] += later.compensation[i];
  cast(c.data(), count);
  add(to, later.sum.data(), count, cast);
}

}  // namespace cpdcomm::reduction
