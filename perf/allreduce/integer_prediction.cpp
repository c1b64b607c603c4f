#include "allreduce/integer_prediction.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "allreduce/buffer.hpp"
#include "codec/float_environment.hpp"
#include "numerics/cast.hpp"

namespace cpdcomm::perf {

IntegerPrediction::IntegerPrediction(const Case& of, std::span<const float> largest) : case_(of) {
  if (of.accumulate == Accumulate::exact) {
    exact_.emplace(of.wire, static_cast<std::uint32_t>(of.ranks));
  } else {
    poisoned_ = std::ranges::any_of(largest, [](float value) { return !std::isfinite(value); });
  }
}

void IntegerPrediction::predict(std::size_t /*first*/, std::span<const float* const> parts,
                                std::span<float> out) {
  const codec::FloatEnvironment environment;
  if (exact_) {
    predict_exact(parts, out);
  } else {
    predict_majority(parts, out);
  }
  round_to(case_.type, out);
}

/// The scale of each block is that of the rank with the largest value.
void IntegerPrediction::share_words(std::span<const float* const> parts, std::size_t count) {
  words_.assign(exact_->blocks(count), 0);
  own_words_.resize(words_.size());
  for (const float* part : parts) {
    exact_->scales(part, count, own_words_.data());
    for (std::size_t i = 0; i < words_.size(); ++i) words_[i] = std::max(words_[i], own_words_[i]);
  }
}

void IntegerPrediction::predict_exact(std::span<const float* const> parts, std::span<float> out) {
  share_words(parts, out.size());
  sums_.assign(out.size(), 0);
  part_.resize(out.size());
  for (const float* part : parts) {
    exact_->integers(part, out.size(), words_.data(), {}, part_.data());
    for (std::size_t i = 0; i < out.size(); ++i) sums_[i] += part_[i];
  }
  const bool cast = case_.result == cpdcomm::Result::wire;
  if (cast) exact_->cast_result(sums_.data(), out.size(), {});
  const int up = cast ? exact_->result_growth() : 0;
  exact_->values(sums_.data(), out.size(), words_.data(), up, out.data());
  if (case_.op != ReduceOp::average) return;
  for (float& value : out) value /= static_cast<float>(case_.ranks);
}

/// The sign bit votes: that of -0 is a vote for -1.
void IntegerPrediction::predict_majority(std::span<const float* const> parts,
                                         std::span<float> out) const {
  for (std::size_t i = 0; i < out.size(); ++i) {
    int votes = 0;
    for (const float* part : parts) votes += std::signbit(part[i]) ? -1 : 1;
    out[i] = static_cast<float>((votes > 0 ? 1 : 0) - (votes < 0 ? 1 : 0));
    if (poisoned_) out[i] = numerics::float_of(numerics::kQuietNan);
  }
}

}  // namespace cpdcomm::perf
