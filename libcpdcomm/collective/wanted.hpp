#pragma once

#include <span>
#include <vector>

#include "cpdcomm/communicator.hpp"

namespace cpdcomm::collective {

/// A call as it is made: as it was asked for, or in FP32 where its compression was declined.
class Wanted {
 public:
  Wanted(std::span<const Tensor> tensors, const AllreduceOptions& options, bool compressed)
      : tensors_(tensors), options_(options) {
    if (compressed) return;
    options_.wire = Format();
    options_.scaling = {Scaling::Kind::none, 0};
    copies_.assign(tensors.begin(), tensors.end());
    for (Tensor& tensor : copies_) tensor.wire.reset();
    tensors_ = copies_;
  }
  Wanted(const Wanted&) = delete;

  std::span<const Tensor> tensors() const { return tensors_; }
  const AllreduceOptions& options() const { return options_; }

 private:
  std::span<const Tensor> tensors_;
  AllreduceOptions options_;
  std::vector<Tensor> copies_;
};

}  // namespace cpdcomm::collective
