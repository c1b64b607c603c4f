#include "collective/halves.hpp"

#include <fmt/format.h>

#include <functional>
#include <span>
#include <vector>

#include "collective/call.hpp"
#include "collective/layout.hpp"
#include "collective/plain_collectives.hpp"
#include "collective/request.hpp"
#include "collective/summing.hpp"
#include "reduction/float_reduction.hpp"
#include "reduction/plain.hpp"
#include "reduction/shared_scales.hpp"

namespace cpdcomm::collective {
namespace {

using Word = std::int16_t;
using reduction::FloatTensor;

[[noreturn]] void invalid(const std::string& message) {
  throw Error(ErrorCode::invalid_argument, message);
}

/// What both halves cannot do; the rest is checked as of an all-reduce.
void check_half(const char* what, const Tensor& tensor, const AllreduceOptions& options) {
  if (options.emulate_nodes != 1 || !tensor.nodes.empty() || tensor.residual != nullptr) {
    invalid(fmt::format("{} knows neither emulated nodes nor residuals", what));
  }
  if (!is_summed_as_float(tensor, options)) return;
  if (is_integer_sum(options.accumulate)) {
    invalid(fmt::format("{} with accumulate '{}': allowed are wide, rounded and kahan", what,
                        to_string(options.accumulate)));
  }
  if (options.scaling.kind == Scaling::Kind::delayed || options.scaling.group != 0) {
    invalid(fmt::format("{} with scaling '{}': allowed are automatic, none and aps", what,
                        to_string(options.scaling)));
  }
}

/// Every rank's share of a vector, one after the other.
struct Shares {
  const void* data;
  DataType type;
  std::size_t count;  ///< of one share
  std::size_t ranks;

  std::size_t before(std::size_t rank) const { return rank * count; }
  const std::byte* of(std::size_t rank) const {
    return static_cast<const std::byte*>(data) + before(rank) * size_of(type);
  }
  std::span<const std::byte> bytes() const { return {of(0), ranks * count * size_of(type)}; }
};

std::span<const std::byte> bytes_of(const void* values, std::size_t count, DataType type) {
  return {static_cast<const std::byte*>(values), count * size_of(type)};
}

/// What is read must not be written meanwhile; only this rank's own share may be in its place.
void check_apart(const char* what, std::span<const std::byte> all, std::span<const std::byte> one,
                 const std::byte* own_place) {
  const std::less<const std::byte*> before;
  const bool apart =
      !before(one.data(), all.data() + all.size()) || !before(all.data(), one.data() + one.size());
  if (all.empty() || one.empty() || apart || one.data() == own_place) return;
  invalid(
      fmt::format("the buffers of {} overlap: they must be apart, or one is this rank's share "
                  "of the other",
                  what));
}

void check_reduce_scatter(const Session& session, const Shares& parts, const Tensor& share,
                          const AllreduceOptions& options) {
  check_half("reduce_scatter", share, options);
  if (options.algorithm != Algorithm::automatic && options.algorithm != Algorithm::direct &&
      options.algorithm != Algorithm::ring) {
    invalid(fmt::format("reduce_scatter by '{}': allowed are automatic, direct and ring",
                        to_string(options.algorithm)));
  }
  const bool widens = share.type == DataType::fp32 && is_small_float(parts.type) &&
                      is_summed_as_float(share, options);
  if (parts.type != share.type && !widens) {
    invalid(
        fmt::format("reduce_scatter of {} into {}: allowed is the same type, or fp16 or bf16 "
                    "into fp32 under sum and avg",
                    to_string(parts.type), to_string(share.type)));
  }
  if (parts.data == nullptr && share.count != 0) {
    invalid("reduce_scatter has values and no memory");
  }
  check_request({&share, 1}, options, session.size());
  const auto own = static_cast<std::size_t>(session.rank());
  check_apart("reduce_scatter", parts.bytes(), bytes_of(share.data, share.count, share.type),
              share.type == parts.type ? parts.of(own) : nullptr);
}

void check_allgather(const Session& session, const void* mine, const Tensor& all,
                     const Shares& shares, const AllreduceOptions& options) {
  check_half("allgather", all, options);
  if (!is_summed_as_float(all, options)) {
    invalid(
        fmt::format("allgather in a wire format of {} under '{}': allowed are sum and avg of "
                    "fp32, bf16 and fp16",
                    to_string(all.type), to_string(options.op)));
  }
  if (all.count % shares.ranks != 0) {
    invalid(fmt::format("allgather into {} values: a multiple of the {} ranks is allowed",
                        all.count, shares.ranks));
  }
  if (mine == nullptr && shares.count != 0) invalid("allgather has values and no memory");
  check_request({&all, 1}, options, session.size());
  check_apart("allgather", shares.bytes(), bytes_of(mine, shares.count, all.type),
              shares.of(static_cast<std::size_t>(session.rank())));
}

/// A tensor in a share.
struct Piece {
  std::size_t first;
  std::size_t count;
};

/// The tensors of a share of `count` values.
/// @param ends  where each ends; none: the share is one tensor
std::vector<Piece> pieces_of(std::size_t count, std::span<const std::size_t> ends) {
  if (ends.empty()) return {{0, count}};
  std::vector<Piece> pieces;
  std::size_t first = 0;
  for (const std::size_t end : ends) {
    if (end < first || end > count) {
      invalid(fmt::format("the {} ends of tensors in a share must ascend to {}: {} follows {}",
                          ends.size(), count, end, first));
    }
    pieces.push_back({first, end - first});
    first = end;
  }
  if (first != count) {
    invalid(fmt::format("the {} ends of tensors in a share must ascend to {}: the last is {}",
                        ends.size(), count, first));
  }
  return pieces;
}

/// All ranks' shares of a half. Each piece of a share is a tensor of its own; with the same piece
/// of all other shares it has one exponent.
class Half {
 public:
  Half(Session& session, Run& run, const AllreduceOptions& options, std::vector<Piece> pieces)
      : session_(session), run_(run), options_(options), pieces_(std::move(pieces)) {}

  std::size_t pieces() const { return pieces_.size(); }

  /// Agrees on the exponents of what this rank brings.
  /// @param shares  where each share that it brings begins
  /// @param world   how many parts are summed
  void agree(const Tensor& brought, const std::vector<const std::byte*>& shares, DataType type,
             std::uint64_t world) {
    if (!is_scaled(brought, options_)) return;
    exponents_.resize(pieces_.size());
    std::vector<reduction::ScaledTensor<Word>> scaled;
    for (std::size_t i = 0; i < pieces_.size(); ++i) {
      reduction::Gradients gradients{{}, pieces_[i].count, type, nullptr, brought.input_exponent};
      for (const std::byte* share : shares) {
        gradients.sources.push_back(share + pieces_[i].first * size_of(type));
      }
      scaled.push_back({std::move(gradients), 0, {&exponents_[i], 1}});
    }
    exchange(reduction::SharedScales<Word>(std::move(scaled), reduction::aps_words(world)));
  }

  /// What some rank has found of a piece, all know.
  std::vector<bool> any_of(const std::vector<bool>& found) {
    std::vector<std::uint8_t> words(found.begin(), found.end());
    exchange(reduction::Plain({{words.data(), words.data(), words.size(), DataType::uint8}},
                              ReduceOp::max, session_.size()));
    return {words.begin(), words.end()};
  }

  /// One rank's share, piece by piece. Random words are those of the whole vector.
  /// @param first  where the share stands there
  void add_share(const Tensor& of, std::size_t first, const std::byte* from, DataType from_type,
                 std::byte* to) {
    for (std::size_t i = 0; i < pieces_.size(); ++i) {
      const Piece& piece = pieces_[i];
      FloatTensor tensor{{from + piece.first * size_of(from_type)},
                         to + piece.first * size_of(of.type),
                         piece.count,
                         of.type,
                         codec::codec_for(wire_of(of, options_))};
      if (!exponents_.empty()) tensor.exponents = {&exponents_[i], 1};
      tensor.first = first + piece.first;
      tensor.source_type = from_type;
      tensor.input_exponent = of.input_exponent;
      tensor.output_exponent = of.output_exponent;
      tensors_.push_back(std::move(tensor));
    }
  }

  /// Runs a schedule whose chunk c is share c.
  /// @return  for each piece, whether anything but finite values was delivered
  std::vector<bool> run(const schedule::Schedule& schedule, float divisor) {
    std::optional<RandomStream> draws;
    if (options_.rounding == Rounding::stochastic) {
      draws = RandomStream{.seed = options_.seed.value_or(0),
                           .step = options_.step,
                           .rank = static_cast<std::uint32_t>(session_.rank())};
    }
    const auto sum = reduction::make_float_reduction(options_.accumulate, std::move(tensors_),
                                                     schedule.parts_travel, divisor, draws);
    const Layout layout =
        Layout::by_tensor(*sum, session_.size(), run_.plan.segment_bytes, pieces_.size());
    session_.run(run_, {{schedule, layout, *sum}});
    std::vector<bool> non_finite(pieces_.size());
    for (std::size_t i = 0; i < sum->tensors(); ++i) {
      if (sum->non_finite(i)) non_finite[i % pieces_.size()] = true;
    }
    return non_finite;
  }

 private:
  void exchange(reduction::Reduction&& words) {
    const Layout layout = Layout::balanced(words, session_.size(), 1, run_.plan.segment_bytes);
    session_.run(run_, {{session_.schedules().exchange(), layout, words}});
  }

  Session& session_;
  Run& run_;
  const AllreduceOptions& options_;
  std::vector<Piece> pieces_;
  std::vector<Word> exponents_;  // by piece; none: not scaled
  std::vector<FloatTensor> tensors_;
};

/// @param all  as a tensor of an all-reduce
/// @return  for each tensor of a share, whether some rank's values were not finite
std::vector<bool> run_reduce_scatter(Session& session, Run& run, const Shares& parts,
                                     const Tensor& all, const Tensor& share,
                                     std::span<const std::size_t> ends,
                                     const AllreduceOptions& options) {
  Half half(session, run, options, pieces_of(share.count, ends));
  if (!is_summed_as_float(share, options)) {
    plain_reduce_scatter(session, run, parts.of(0), share, options.op);
    return std::vector<bool>(half.pieces());
  }
  std::vector<const std::byte*> brought;
  for (std::size_t rank = 0; rank < parts.ranks; ++rank) brought.push_back(parts.of(rank));
  half.agree(all, brought, parts.type, parts.ranks);
  for (std::size_t rank = 0; rank < parts.ranks; ++rank) {
    half.add_share(share, parts.before(rank), parts.of(rank), parts.type,
                   static_cast<std::byte*>(share.data));
  }
  const float divisor = options.op == ReduceOp::average ? static_cast<float>(parts.ranks) : 1.0f;
  return half.any_of(half.run(session.schedules().reduce_scatter(run.plan.algorithm), divisor));
}

/// The same, of what is collected.
std::vector<bool> run_allgather(Session& session, Run& run, const void* mine, const Tensor& all,
                                const Shares& places, const AllreduceOptions& options) {
  const auto* const own_share = static_cast<const std::byte*>(mine);
  Half half(session, run, options, pieces_of(places.count, {}));
  Tensor own = all;
  own.count = places.count;
  half.agree(own, {own_share}, all.type, 1);
  for (std::size_t rank = 0; rank < places.ranks; ++rank) {
    std::byte* const to =
        static_cast<std::byte*>(all.data) + places.before(rank) * size_of(all.type);
    half.add_share(all, places.before(rank), own_share, all.type, to);
  }
  return half.run(session.schedules().allgather(), 1.0f);
}

void fill_report(const Tensor& tensor, const Plan& plan, Report& report) {
  report.algorithm = plan.algorithm;
  report.logical_bytes = tensor.count * sizeof(float);
  report.non_finite.assign(1, false);
}

/// @param ends  of the tensors in a share, which ranks must agree about, too
Call call_of_half(Collective collective, const Tensor& all, std::span<const std::size_t> ends,
                  const AllreduceOptions& options) {
  Call call = call_of({&all, 1}, options);
  call.collective = collective;
  Hash hash;
  for (const std::size_t end : ends) hash.add(end);
  if (!ends.empty()) call.options_hash += hash.value();
  return call;
}

}  // namespace

Report reduce_scatter(Session& session, const void* parts, DataType type, const Tensor& share,
                      std::span<const std::size_t> ends, const AllreduceOptions& options) {
  const auto ranks = static_cast<std::size_t>(session.size());
  const Shares shares{parts, type, share.count, ranks};
  Tensor all = share;
  all.count = ranks * share.count;
  all.input = parts;
  all.input_type = type;
  Plan plan = session.plan();
  plan.algorithm = options.algorithm == Algorithm::ring ? Algorithm::ring : Algorithm::direct;
  Report report;
  fill_report(all, plan, report);
  session.call(
      call_of_half(Collective::reduce_scatter, all, ends, options), [&] { return plan; },
      options.timeout, report,
      [&](Run& run) {
        check_reduce_scatter(session, shares, share, options);
        report.non_finite = run_reduce_scatter(session, run, shares, all, share, ends, options);
      });
  report.saturated.assign(report.non_finite.size(), false);
  return report;
}

Report allgather(Session& session, const void* mine, const Tensor& all,
                 const AllreduceOptions& options) {
  const auto ranks = static_cast<std::size_t>(session.size());
  const Shares shares{all.data, all.type, all.count / ranks, ranks};
  const Plan plan = session.plan();
  Report report;
  fill_report(all, plan, report);
  session.call(
      call_of_half(Collective::allgather, all, {}, options), [&] { return plan; }, options.timeout,
      report,
      [&](Run& run) {
        check_allgather(session, mine, all, shares, options);
        report.non_finite = run_allgather(session, run, mine, all, shares, options);
      });
  report.saturated.assign(1, false);
  return report;
}

}  // namespace cpdcomm::collective
