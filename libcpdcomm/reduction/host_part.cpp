#include "reduction/host_part.hpp"

namespace cpdcomm::reduction {

void HostPart::sum(const Block& block, const Host& host, Scratch& scratch) const {
  const bool by_rule = !block.tensor.inner;
  const Summation& summation = by_rule ? summation_ : summation_for(Accumulate::wide);
  const Level inner = block.inner();
  const bool emulated = nodes_ > 1;
  summation.clear(scratch.own, block.count);
  for (std::size_t member = 0; member < parts(host); ++member) {
    const float* part = scratch.values.data();
    if (emulated || member == host.own_after) {
      part = own_.round(block, inner, emulated ? member : 0, scratch);
    } else {
      const std::size_t input = member < host.own_after ? member : member - 1;
      const codec::ConstPlace place = place_of(block, scratch.host_cursors[input]);
      if (summation.only_adds()) {
        decode_add(inner.codec, place, block.count, scratch.own.sum.data());
        continue;
      }
      inner.codec.decode(place, block.count, scratch.values.data());
    }
    const Cast cast(inner.codec, casts_.of_host(block, member + 1));
    summation.add(scratch.own, part, block.count, cast);
  }
}

CastOptions HostPart::cast(const Block& block, const Host& host) const {
  CastOptions cast = casts_.of_host(block, parts(host));
  cast.shift = block.shift_to_wire();
  return cast;
}

}  // namespace cpdcomm::reduction
