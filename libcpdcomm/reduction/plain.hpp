#pragma once

#include <array>
#include <cstddef>
#include <vector>

#include "cpdcomm/communicator.hpp"
#include "reduction/reduction.hpp"

namespace cpdcomm::reduction {

/// A tensor that travels as it is.
struct PlainTensor {
  const void* source;  ///< this rank's part
  void* destination;   ///< may be the source; null: the result is not kept here
  std::size_t count;
  DataType type;
};

/// @throws Error unsupported when an operator is not defined for a type (bitwise of floats, average
///         of integers)
void check_operator(ReduceOp op, DataType type);

/// The exact reductions: every type with every operator, in its own type and in the order of the
/// schedule. FP16 and BF16 are computed in FP32 and rounded after each operation.
class Plain final : public Reduction {
 public:
  /// @param ranks  what `average` divides by
  /// @throws Error as check_operator
  Plain(std::vector<PlainTensor> tensors, ReduceOp op, int ranks);

  std::size_t tensors() const override { return tensors_.size(); }
  std::size_t count(std::size_t tensor) const override { return tensors_[tensor].count; }
  std::size_t alignment(std::size_t /*tensor*/) const override { return 8; }
  std::size_t bytes(std::size_t tensor, std::size_t count, Content /*content*/) const override {
    return count * size_of(tensors_[tensor].type);
  }
  void encode_part(Slice slice, const Host& host, Leg leg, std::byte* out) override;
  void join(Slice slice, const Join& join, Content content, std::byte* out) override;
  void keep(Slice slice, const Join& join) override;
  void deliver(Slice slice, const std::byte* result) override;

 private:
  const std::byte* own_part(const Range& range) const;
  void combine_range(const Range& range, std::byte* out, const std::byte* in) const;
  void join_host(const Range& range, std::size_t offset, const Host& host, std::byte* out) const;
  void join_range(const Range& range, std::size_t offset, const Join& join, std::byte* out) const;

  std::vector<PlainTensor> tensors_;
  ReduceOp op_;
  int ranks_;
};

}  // namespace cpdcomm::reduction
