#include "reduction/casts.hpp"

#include "codec/arrays.hpp"

namespace cpdcomm::reduction {
namespace {

constexpr std::uint16_t kResultPhase = 0xffff;

bool scales_first(const codec::Codec& codec, const CastOptions& cast) {
  return codec.layout().block != 0 && cast.shift != 0;
}

CastOptions without_shift(CastOptions cast) {
  cast.shift = 0;
  return cast;
}

}  // namespace

Casts::Casts(std::optional<RandomStream> draws, std::size_t nodes,
             const std::vector<std::uint32_t>& host_ranks)
    : draws_(draws) {
  const std::uint32_t rank = draws ? draws->rank : 0;
  for (std::size_t node = 0; node < nodes; ++node) {
    nodes_.push_back(static_cast<std::uint32_t>(rank * nodes + node));
  }
  members_ = host_ranks.empty() ? nodes_ : host_ranks;
}

CastOptions Casts::options(const Block& block, bool saturate, std::uint32_t rank,
                           std::size_t phase) const {
  CastOptions options{.saturate = saturate, .stochastic = draws_};
  if (draws_) {
    options.stochastic->phase = static_cast<std::uint16_t>(phase);
    options.stochastic->rank = rank;
    options.stochastic->tensor = block.tensor.place;
    options.stochastic->first = block.tensor.first + block.first;
  }
  return options;
}

CastOptions Casts::of_part(const Block& block, const Level& level, std::size_t node) const {
  CastOptions cast = options(block, level.saturate, nodes_[node], 0);
  cast.shift = level.shift + block.tensor.input_exponent;
  return cast;
}

CastOptions Casts::of_host(const Block& block, std::size_t parts) const {
  return options(block, block.wire().saturate, members_[parts - 1], parts - 1);
}

CastOptions Casts::of_sum(const Block& block, std::size_t parts) const {
  return options(block, block.wire().saturate, members_.back(), parts - 1);
}

CastOptions Casts::of_result(const Block& block) const {
  return options(block, block.wire().saturate, members_.back(), kResultPhase);
}

void encode_scaled(const codec::Codec& codec, const float* in, std::size_t count,
                   const CastOptions& cast, codec::Place out, std::vector<float>& room) {
  if (!scales_first(codec, cast)) {
    codec.encode(in, count, cast, out);
    return;
  }
  codec::scale(in, count, cast.shift, room.data());
  codec.encode(room.data(), count, without_shift(cast), out);
}

void round_scaled(const codec::Codec& codec, const float* in, std::size_t count,
                  const CastOptions& cast, float* out) {
  if (!scales_first(codec, cast)) {
    codec.round(in, count, cast, out);
    return;
  }
  codec::scale(in, count, cast.shift, out);
  codec.round(out, count, without_shift(cast), out);
}

}  // namespace cpdcomm::reduction
