#pragma once

#include <Random123/philox.h>

#include "cpdcomm/codec.hpp"
#include "numerics/host_device.hpp"

namespace cpdcomm::numerics {

/// The four words of a Philox4x32-10 counter.
struct RandomWords {
  std::uint32_t words[4];
};

/// Words 4 * group to 4 * group + 3 of a tensor (numerics: counter {lo32(group), phase * 2^16 +
/// hi32(group), rank, tensor}, key {seed, step}).
CPDCOMM_HOST_DEVICE inline RandomWords random_words(const RandomStream& stream,
                                                    std::uint64_t group) {
  const philox4x32_ctr_t counter{
      {static_cast<std::uint32_t>(group),
       (static_cast<std::uint32_t>(stream.phase) << 16) + static_cast<std::uint32_t>(group >> 32),
       stream.rank, stream.tensor}};
  const philox4x32_key_t key{{stream.seed, stream.step}};
  const philox4x32_ctr_t words = philox4x32_R(10, counter, key);
  return {{words.v[0], words.v[1], words.v[2], words.v[3]}};
}

/// The word of value `first + i`.
CPDCOMM_HOST_DEVICE inline std::uint32_t random_word(const RandomStream& stream, std::uint64_t i) {
  const std::uint64_t index = stream.first + i;
  return random_words(stream, index / 4).words[index % 4];
}

}  // namespace cpdcomm::numerics
