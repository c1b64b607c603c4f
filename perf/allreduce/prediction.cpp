#include "allreduce/prediction.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "codec/arrays.hpp"
#include "codec/float_environment.hpp"
#include "collective/layout.hpp"
#include "collective/schedules.hpp"
#include "cpdcomm/error.hpp"
#include "numerics/scale_exponent.hpp"
#include "reduction/float_reduction.hpp"

namespace cpdcomm::perf {

/// Values that are worked on at once: of one chunk, with one shift.
struct Prediction::Tile {
  std::span<const float* const> parts;  ///< of each rank, the tile
  std::size_t count;
  int shift;
};

/// `compensation` is for `kahan` alone.
struct Prediction::PartialSum {
  explicit PartialSum(std::size_t count) : sum(count), compensation(count) {}

  std::vector<float> sum;
  std::vector<float> compensation;
};

namespace {

[[noreturn]] void invalid(const std::string& message) {
  throw Error(ErrorCode::invalid_argument, message);
}

/// As collective::is_scaled: a block has a scale of its own, fp32 needs none. `delayed` is as `aps`
/// while the values stay what they are.
bool is_scaled(const Case& of) {
  return of.scaling.kind != Scaling::Kind::none && of.wire.is_float() && !of.wire.is_fp32();
}

std::size_t group_of(const Case& of) {
  const std::size_t asked = is_scaled(of) ? of.scaling.group : 0;
  return asked == 0 ? std::max<std::size_t>(of.count, 1) : asked;
}

std::size_t groups_of(const Case& of) {
  const bool needed = is_scaled(of) || of.accumulate == Accumulate::majority;
  return needed && of.count != 0 ? (of.count - 1) / group_of(of) + 1 : 0;
}

std::vector<schedule::Schedule> schedules_of(const Case& of) {
  if (of.ranks < 1) invalid(fmt::format("{} ranks; allowed is 1 and more", of.ranks));
  std::vector<schedule::Schedule> schedules;
  for (int rank = 0; rank < of.ranks; ++rank) {
    collective::Schedules own(rank, schedule::Hosts(static_cast<std::size_t>(of.ranks)));
    schedules.push_back(own.allreduce(of.algorithm, Algorithm::automatic));
  }
  return schedules;
}

/// Values that share an exponent stay together, where they fit into a message.
std::vector<std::size_t> multiples_of(const Case& of, const reduction::Reduction& reduction) {
  if (!is_scaled(of) || of.scaling.group == 0) return {};
  const std::vector<std::size_t> group{of.scaling.group};
  return collective::groups_fit_a_message(reduction, of.ranks, group) ? group
                                                                      : std::vector<std::size_t>();
}

/// Where each chunk ends. A reduction tells how many bytes values take; it sums nothing here.
std::vector<std::size_t> chunk_ends(const Case& of, const schedule::Schedule& schedule) {
  reduction::FloatTensor tensor{};
  tensor.sources.resize(1);
  tensor.count = of.count;
  tensor.codec = codec::plain_codec_for(of.wire);
  const bool delayed = is_scaled(of) && of.scaling.kind == Scaling::Kind::delayed;
  if (delayed) tensor.delayed_world = static_cast<std::uint64_t>(of.ranks);  // its words take bytes
  const auto reduction =
      reduction::make_float_reduction(of.accumulate, {tensor}, schedule.parts_travel, 1.0f);
  // Segments do not move the ends of chunks: one segment is enough.
  constexpr std::size_t kOneSegment = std::size_t{1} << 60;
  const auto layout = collective::Layout::balanced(*reduction, of.ranks, schedule.chunks,
                                                   kOneSegment, multiples_of(of, *reduction));
  std::vector<std::size_t> ends;
  std::vector<reduction::Range> ranges;
  for (std::size_t chunk = 0; chunk < static_cast<std::size_t>(schedule.chunks); ++chunk) {
    layout.slice(chunk, 0, ranges);
    const std::size_t before = ends.empty() ? 0 : ends.back();
    ends.push_back(ranges.empty() ? before : ranges[0].first + ranges[0].count);
  }
  return ends;
}

}  // namespace

bool can_predict(const AllreduceOptions& options, DataType type) {
  const bool sums = options.op == ReduceOp::sum || options.op == ReduceOp::average;
  const bool small = type == DataType::fp32 || type == DataType::fp16 || type == DataType::bf16;
  const bool certain = options.rounding == Rounding::nearest_even || options.wire.is_fp32();
  const bool known_order =
      options.algorithm != Algorithm::hierarchical || is_summed_in_integers(options.accumulate);
  return sums && small && certain && known_order && options.emulate_nodes == 1;
}

bool is_summed_in_integers(Accumulate accumulate) {
  return accumulate == Accumulate::exact || accumulate == Accumulate::majority;
}

LargestByGroup::LargestByGroup(const Case& of)
    : group_(group_of(of)), count_(of.count), largest_(groups_of(of), 0.0f) {}

void LargestByGroup::see(std::size_t first, std::span<const float> values) {
  if (first > count_ || values.size() > count_ - first) {
    invalid(fmt::format("values {} to {} are not in a tensor of {}", first, first + values.size(),
                        count_));
  }
  if (largest_.empty()) return;
  for (std::size_t done = 0; done < values.size();) {
    const std::size_t at = first + done;
    const std::size_t now = std::min(values.size() - done, group_ - at % group_);
    // The bits of magnitudes are in the order of the magnitudes, with Inf and NaN above all.
    const std::uint32_t bits = codec::plain::largest_bits(values.data() + done, now);
    const float largest = numerics::float_of(std::min(bits, numerics::kInfinity));
    largest_[at / group_] = std::max(largest_[at / group_], largest);
    done += now;
  }
}

Prediction::Prediction(const Case& of, std::span<const float> largest)
    : Prediction(of, largest, schedules_of(of)) {}

Prediction::Prediction(const Case& of, std::span<const float> largest,
                       std::span<const schedule::Schedule> by_rank)
    : case_(of),
      scaled_(is_scaled(of)),
      codec_(codec::plain_codec_for(of.wire)),
      group_(group_of(of)) {
  if (!can_predict({.op = of.op}, of.type)) {
    invalid(
        fmt::format("'{}' of {} cannot be predicted; sums and averages of fp32, fp16 and bf16 "
                    "can",
                    to_string(of.op), cpdcomm::to_string(of.type)));
  }
  if (largest.size() != groups_of(of)) {
    invalid(fmt::format("the largest values of {} groups; '{}' of {} values has {}", largest.size(),
                        to_string(of.scaling), of.count, groups_of(of)));
  }
  for (const float value : largest) {
    const std::int16_t exponent = numerics::scale_exponent(numerics::bits_of(value) & 0x7fffffffu,
                                                           static_cast<std::uint64_t>(of.ranks));
    shifts_.push_back(numerics::shift_for(exponent, codec_.emax()));
    poisoned_.push_back(exponent == numerics::kNonFinite);
  }
  orders_ = sum_orders(by_rank);
  ends_ = chunk_ends(of, by_rank.front());
  // By hops a rank's own part joins an FP32 sum as it is.
  cast_own_parts_ = of.accumulate != Accumulate::wide || by_rank.front().parts_travel;
  for (std::vector<float>* scratch : {&part_, &y_, &t_}) scratch->resize(codec_.tile());
}

void Prediction::check_slice(std::size_t first, std::size_t ranks, std::size_t count) const {
  if (ranks != static_cast<std::size_t>(case_.ranks)) {
    invalid(fmt::format("{} parts of {} ranks", ranks, case_.ranks));
  }
  const bool inside = first <= case_.count && count <= case_.count - first;
  const std::size_t end = first + count;
  if (!inside || first % alignment() != 0 || (end % alignment() != 0 && end != case_.count)) {
    invalid(
        fmt::format("values {} to {} of {}: a slice begins and ends at multiples of {}, or at "
                    "the tensor's end",
                    first, end, case_.count, alignment()));
  }
}

std::size_t Prediction::end_of_tile(std::size_t first, std::size_t chunk) const {
  const std::size_t end_of_group = (first / group_ + 1) * group_;
  return std::min({first + codec_.tile(), ends_[chunk], end_of_group});
}

void Prediction::predict(std::size_t first, std::span<const float* const> parts,
                         std::span<float> out) {
  check_slice(first, parts.size(), out.size());
  const codec::FloatEnvironment environment;
  std::vector<const float*> tile_parts(parts.size());
  for (std::size_t done = 0; done < out.size();) {
    const std::size_t at = first + done;
    const auto chunk =
        static_cast<std::size_t>(std::ranges::upper_bound(ends_, at) - ends_.begin());
    const std::size_t count = std::min(end_of_tile(at, chunk) - at, out.size() - done);
    for (std::size_t i = 0; i < parts.size(); ++i) tile_parts[i] = parts[i] + done;
    if (scaled_ && poisoned_[at / group_]) {
      std::fill_n(out.data() + done, count, numerics::float_of(numerics::kQuietNan));
    } else {
      const int shift = scaled_ ? shifts_[at / group_] : 0;
      predict_tile(*orders_[chunk], {tile_parts, count, shift}, out.data() + done);
    }
    done += count;
  }
}

void Prediction::predict_tile(const Sum& order, const Tile& tile, float* out) {
  PartialSum total(tile.count);
  sum_up(order, tile, total);
  cast(total.sum, tile.count);
  const float divisor = case_.op == ReduceOp::average ? static_cast<float>(case_.ranks) : 1.0f;
  codec::plain::finish(total.sum.data(), tile.count, tile.shift, divisor, total.sum.data());
  const Format type = case_.type == DataType::fp32   ? Format()
                      : case_.type == DataType::fp16 ? Format::floating(5, 10)
                                                     : Format::floating(8, 7);
  codec::plain_codec_for(type).round(total.sum.data(), tile.count, {}, out);
}

/// Sums begin at +0, except where one goes on that another rank has begun.
void Prediction::sum_up(const Sum& order, const Tile& tile, PartialSum& total) {
  const bool goes_on = order.front().kind == Term::Kind::received_sum;
  if (goes_on) receive(*order.front().sum, tile, total);
  for (const Term& term : std::span(order).subspan(goes_on ? 1 : 0)) {
    if (term.kind == Term::Kind::received_sum) {
      PartialSum later(tile.count);
      receive(*term.sum, tile, later);
      join(total, later, tile.count);
    } else {
      add(total, read_part(term, tile), tile.count);
    }
  }
}

/// A sum that has travelled.
void Prediction::receive(const Sum& order, const Tile& tile, PartialSum& sum) {
  sum_up(order, tile, sum);
  cast(sum.sum, tile.count);
  if (case_.accumulate == Accumulate::kahan) cast(sum.compensation, tile.count);
}

/// A part as it enters a sum.
const float* Prediction::read_part(const Term& term, const Tile& tile) {
  const float* const part = tile.parts[static_cast<std::size_t>(term.rank)];
  if (term.kind == Term::Kind::own_part && !cast_own_parts_) {
    codec::plain::scale(part, tile.count, tile.shift, part_.data());
  } else {
    codec_.round(part, tile.count, {.shift = tile.shift, .saturate = scaled_}, part_.data());
  }
  return part_.data();
}

void Prediction::add(PartialSum& to, const float* part, std::size_t count) {
  if (case_.accumulate == Accumulate::kahan) {
    add_compensated(to, part, count);
    return;
  }
  codec::plain::add(to.sum.data(), part, count);
  if (case_.accumulate == Accumulate::rounded) cast(to.sum, count);
}

/// y = Q(g - c); t = Q(s + y); c = Q(Q(t - s) - y); s = t
void Prediction::add_compensated(PartialSum& to, const float* part, std::size_t count) {
  std::vector<float>& s = to.sum;
  std::vector<float>& c = to.compensation;
  for (std::size_t i = 0; i < count; ++i) y_[i] = part[i] - c[i];
  cast(y_, count);
  for (std::size_t i = 0; i < count; ++i) t_[i] = s[i] + y_[i];
  cast(t_, count);
  for (std::size_t i = 0; i < count; ++i) c[i] = t_[i] - s[i];
  cast(c, count);
  for (std::size_t i = 0; i < count; ++i) c[i] -= y_[i];
  cast(c, count);
  std::copy_n(t_.begin(), count, s.begin());
}

/// Of two pairs: what both have lost so far counts as lost by the first, then the second is a part.
void Prediction::join(PartialSum& to, const PartialSum& later, std::size_t count) {
  if (case_.accumulate == Accumulate::kahan) {
    codec::plain::add(to.compensation.data(), later.compensation.data(), count);
    cast(to.compensation, count);
  }
  add(to, later.sum.data(), count);
}

/// Q
void Prediction::cast(std::vector<float>& values, std::size_t count) const {
  codec_.round(values.data(), count, {.saturate = scaled_}, values.data());
}

}  // namespace cpdcomm::perf
