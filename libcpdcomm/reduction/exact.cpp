#include "reduction/exact.hpp"

#include <algorithm>
#include <atomic>

#include "codec/arrays.hpp"

namespace cpdcomm::reduction {
namespace {

constexpr std::uint16_t kResultPhase = 0xffff;

}  // namespace

ExactSum::ExactSum(std::vector<IntegerTensor> tensors, const codec::Exact& exact, Result result,
                   float divisor, std::optional<RandomStream> draws)
    : IntegerSums(std::move(tensors), exact.block()),
      exact_(exact),
      result_(result),
      divisor_(divisor),
      draws_(draws),
      judged_(this->tensors(), Judged::not_yet) {}

int ExactSum::result_width() const {
  return exact_.bits(1) + (result_ == Result::full ? exact_.result_growth() : 0);
}

std::span<const std::uint32_t> ExactSum::words_of(const Tile& tile) const {
  return tile.tensor.words.subspan(tile.first / exact_.block(), exact_.blocks(tile.count));
}

std::optional<RandomStream> ExactSum::draws_of(const Tile& tile, std::uint32_t rank,
                                               std::uint16_t phase) const {
  std::optional<RandomStream> draws = draws_;
  if (draws) {
    draws->phase = phase;
    draws->rank = rank;
    draws->tensor = tile.tensor.place;
    draws->first = tile.first;
  }
  return draws;
}

std::optional<RandomStream> ExactSum::draws_of_part(const Tile& tile, std::uint32_t node) const {
  return draws_ ? draws_of(tile, draws_->rank * nodes() + node, 0) : draws_;
}

void ExactSum::encode_node(const Tile& tile, std::uint32_t node, std::int32_t* out) const {
  const Gradients& from = tile.tensor.gradients;
  float* const room = scratch().values.data();
  const float* values = read_elements(from.sources[node], from.type, tile.first, tile.count, room);
  if (from.input_exponent != 0) {
    codec::scale(values, tile.count, from.input_exponent, room);
    values = room;
  }
  exact_.integers(values, tile.count, words_of(tile).data(), draws_of_part(tile, node), out);
}

void ExactSum::encode_with_residual(const Tile& tile, std::int32_t* out) {
  const Gradients& from = tile.tensor.gradients;
  Scratch& scratch = this->scratch();
  const std::uint32_t* const words = words_of(tile).data();
  float* const residual = from.residual + tile.first;
  const float* const sum = read_elements(from.sources[0], from.type, from.residual, tile.first,
                                         tile.count, scratch.values.data());
  float* const scaled = scratch.decoded.data();
  codec::scale(sum, tile.count, from.input_exponent, scaled);
  exact_.integers(scaled, tile.count, words, draws_of_part(tile, 0), out);
  if (!is_finite(tile)) return;
  exact_.values(out, tile.count, words, -from.input_exponent, scaled);
  for (std::size_t i = 0; i < tile.count; ++i) residual[i] = sum[i] - scaled[i];
}

bool ExactSum::is_finite(const Tile& tile) {
  const std::atomic_ref judged(judged_[tile.place]);
  if (judged.load(std::memory_order_relaxed) == Judged::not_yet) {
    const auto is_nan = [&](std::uint32_t word) { return exact_.is_nan(word); };
    const bool any = std::ranges::any_of(tile.tensor.words, is_nan);
    judged.store(any ? Judged::non_finite : Judged::finite, std::memory_order_relaxed);
  }
  return judged.load(std::memory_order_relaxed) == Judged::finite;
}

void ExactSum::own_sum(const Tile& tile, std::int32_t* sums) {
  if (tile.tensor.gradients.residual != nullptr) return encode_with_residual(tile, sums);
  encode_node(tile, 0, sums);
  std::int32_t* const more = scratch().integers.data();
  for (std::uint32_t node = 1; node < nodes(); ++node) {
    encode_node(tile, node, more);
    for (std::size_t i = 0; i < tile.count; ++i) sums[i] += more[i];
  }
}

void ExactSum::cast_result(const Tile& tile, std::int32_t* sums) const {
  if (result_ == Result::full) return;
  // The same words whoever casts: the bits do not depend on which rank an algorithm lets do it.
  exact_.cast_result(sums, tile.count, draws_of(tile, 0, kResultPhase));
}

bool ExactSum::values_of(const Tile& tile, const std::int32_t* sums, bool is_result,
                         float* out) const {
  const int up = is_result && result_ == Result::wire ? exact_.result_growth() : 0;
  const std::span<const std::uint32_t> words = words_of(tile);
  exact_.values(sums, tile.count, words.data(), up + tile.tensor.output_exponent, out);
  if (divisor_ != 1.0f) codec::finish(out, tile.count, 0, divisor_, out);
  return std::ranges::any_of(words, [&](std::uint32_t word) { return exact_.is_nan(word); });
}

}  // namespace cpdcomm::reduction
