#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cpdcomm/communicator.hpp"

namespace cpdcomm::testing {

/// What a soak found.
struct SoakResult {
  std::uint64_t operations = 0;
  std::uint64_t wrong = 0;       ///< operations with a wrong bit
  std::string first_wrong = {};  ///< what it was, for people
};

/// Many operations one after another and at the same time: collectives, sizes, types, formats,
/// algorithms and ways to accumulate drawn at random, on several communicators, blocking and
/// started. Values are such that every format in use holds all sums exactly, so that the result is
/// known: each operation is checked bit for bit.
///
/// One object per rank; all ranks give the same seed and number of operations.
class Soak {
 public:
  Soak(std::vector<Communicator>& communicators, std::uint32_t seed);

  SoakResult run(std::uint64_t operations);

 private:
  std::vector<Communicator>& communicators_;
  std::uint32_t seed_;
  std::uint32_t runs_ = 0;
};

/// Bytes that this process has asked for and not given back, and those it has in memory.
struct HeapUse {
  std::uint64_t allocated;
  std::uint64_t resident;
};
HeapUse heap_use();

}  // namespace cpdcomm::testing
