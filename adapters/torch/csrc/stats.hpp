#pragma once

#include <cstdint>
#include <map>
#include <string>

namespace cpdcomm::torch_adapter {

/// Totals of one kind of operation of a group since it began.
struct OperationStats {
  std::uint64_t calls = 0;
  std::uint64_t compressed = 0;     ///< of them, with values that travelled in a wire format
  std::uint64_t wire_bytes = 0;     ///< sent by this rank
  std::uint64_t logical_bytes = 0;  ///< the tensors; of reductions of floats as FP32
};

/// Totals of a group since it began.
struct Stats {
  // Of all-reduces.
  std::uint64_t calls = 0;
  std::uint64_t wire_bytes = 0;
  std::uint64_t logical_bytes = 0;
  std::map<std::string, OperationStats> by_operation;  ///< by torch.distributed's name
};

}  // namespace cpdcomm::torch_adapter
