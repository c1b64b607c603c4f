#include "reduction/blocks.hpp"

#include <fmt/format.h>

#include <atomic>
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

}  // namespace

void check_inner(Format wire, Format inner, std::size_t group) {
  check_inner(codec::codec_for(wire), codec::codec_for(inner), group);
}

Blocks::Blocks(std::vector<FloatTensor> tensors) : tensors_(std::move(tensors)) {
  for (FloatTensor& tensor : tensors_) {
    if (tensor.inner && tensor.inner->format() == tensor.codec.format()) tensor.inner.reset();
    if (tensor.inner) check_inner(tensor.codec, *tensor.inner, tensor.group);
    alignments_.push_back(common_alignment(tensor.codec, tensor.inner.value_or(tensor.codec)));
    judged_.push_back(Judged::not_yet);
    tile_ = std::max(tile_, tile_of(alignments_.size() - 1));
  }
}

bool Blocks::learns(std::size_t tensor) const {
  if (tensors_[tensor].residual == nullptr) return false;
  const std::atomic_ref judged(judged_[tensor]);
  if (judged.load(std::memory_order_relaxed) == Judged::not_yet) {
    const std::span<const std::int16_t> exponents = tensors_[tensor].exponents;
    const bool any = std::ranges::find(exponents, numerics::kNonFinite) != exponents.end();
    judged.store(any ? Judged::non_finite : Judged::finite, std::memory_order_relaxed);
  }
  return judged.load(std::memory_order_relaxed) == Judged::finite;
}

}  // namespace cpdcomm::reduction
