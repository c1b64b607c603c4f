#pragma once

#include <span>
#include <string_view>

#include "codecs/workload.hpp"

namespace cpdcomm::perf {

/// What one thread does in one iteration.
struct Pass {
  const codec::Codec& codec;
  CastOptions cast;
  Workload& work;
  std::size_t values;  ///< of the whole buffer
  Slice slice;         ///< of this thread
};

/// One thing that is measured.
struct Kernel {
  std::string_view name;
  bool reads_packed;
  bool stochastic;
  void (*run)(const Pass&);
};

/// Passes over memory that no format takes part in: what the machine can do.
std::span<const Kernel> memory_kernels();

/// What a codec does.
std::span<const Kernel> codec_kernels();

}  // namespace cpdcomm::perf
