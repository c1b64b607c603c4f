#include "reduction/blocks.hpp"

#include <fmt/format.h>

#include <numeric>

#include "cpdcomm/error.hpp"

namespace cpdcomm::reduction {
namespace {

constexpr std::size_t kLargestCut = 65536;  // as the largest block of a format

std::size_t common_alignment(const codec::Codec& wire, const codec::Codec& inner) {
  return std::lcm(wire.alignment(), inner.alignment());
}

void check_inner(const codec::Codec& wire, const codec::Codec& inner, std::size_t group) {
  const std::size_t cut = common_alignment(wire, inner);
  if (cut > kLargestCut) {
    throw Error(
        ErrorCode::unsupported,
        fmt::format("inner '{}' with wire '{}': their blocks end together only every {} "
                    "values; allowed is {} at most",
                    inner.format().to_string(), wire.format().to_string(), cut, kLargestCut));
  }
  if (group % cut != 0) {
    throw Error(ErrorCode::unsupported,
                fmt::format("inner '{}' with wire '{}' and one scale exponent per {} values; "
                            "allowed are multiples of {}, where their blocks end",
                            inner.format().to_string(), wire.format().to_string(), group, cut));
  }
}

bool is_finite(const FloatTensor& tensor) {
  return std::ranges::find(tensor.exponents, numerics::kNonFinite) == tensor.exponents.end();
}

}  // namespace

void check_inner(Format wire, Format inner, std::size_t group) {
  check_inner(codec::codec_for(wire), codec::codec_for(inner), group);
}

Blocks::Blocks(std::vector<FloatTensor> tensors) : tensors_(std::move(tensors)) {
  for (FloatTensor& tensor : tensors_) {
    if (tensor.inner && tensor.inner->format() == tensor.codec.format()) tensor.inner.reset();
    if (tensor.inner) check_inner(tensor.codec, *tensor.inner, tensor.group);
    alignments_.push_back(common_alignment(tensor.codec, tensor.inner.value_or(tensor.codec)));
    learns_.push_back(tensor.residual != nullptr && is_finite(tensor));
    tile_ = std::max(tile_, tile_of(alignments_.size() - 1));
  }
}

}  // namespace cpdcomm::reduction
