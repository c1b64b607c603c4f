#include "collective/halves.hpp"

#include <fmt/format.h>

#include <functional>
#include <span>
#include <vector>

#include "collective/call.hpp"
#include "collective/layout.hpp"
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
  if (is_integer_sum(options.accumulate)) {
    invalid(fmt::format("{} with accumulate '{}': allowed are wide, rounded and kahan", what,
                        to_string(options.accumulate)));
  }
  if (options.scaling.kind == Scaling::Kind::delayed || options.scaling.group != 0) {
    invalid(fmt::format("{} with scaling '{}': allowed are automatic, none and aps", what,
                        to_string(options.scaling)));
  }
  if (options.emulate_nodes != 1 || !tensor.nodes.empty() || tensor.residual != nullptr) {
    invalid(fmt::format("{} knows neither emulated nodes nor residuals", what));
  }
  if (!is_summed_as_float(tensor, options)) {
    invalid(fmt::format("{} of {} under '{}': allowed are sum and avg of fp32, bf16 and fp16", what,
                        to_string(tensor.type), to_string(options.op)));
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
  const bool widens = share.type == DataType::fp32 && is_small_float(parts.type);
  if (parts.type != share.type && !widens) {
    invalid(
        fmt::format("reduce_scatter of {} into {}: allowed is the same type, or fp16 or bf16 "
                    "into fp32",
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
  if (all.count % shares.ranks != 0) {
    invalid(fmt::format("allgather into {} values: a multiple of the {} ranks is allowed",
                        all.count, shares.ranks));
  }
  if (mine == nullptr && shares.count != 0) invalid("allgather has values and no memory");
  check_request({&all, 1}, options, session.size());
  check_apart("allgather", shares.bytes(), bytes_of(mine, shares.count, all.type),
              shares.of(static_cast<std::size_t>(session.rank())));
}

/// All ranks' shares of a half, each a tensor of its own, with one exponent for all of them.
class Half {
 public:
  Half(Session& session, Run& run, const AllreduceOptions& options)
      : session_(session), run_(run), options_(options) {}

  /// Agrees on the exponent of what this rank brings.
  /// @param world  how many parts are summed
  void agree(const Tensor& brought, const void* data, DataType type, std::uint64_t world) {
    if (!is_scaled(brought, options_)) return;
    agreed_ = true;
    const reduction::Gradients gradients{
        {data}, brought.count, type, nullptr, brought.input_exponent};
    reduction::SharedScales<Word> words({{gradients, 0, {&exponent_, 1}}},
                                        reduction::aps_words(world));
    const Layout layout = Layout::balanced(words, session_.size(), 1, run_.plan.segment_bytes);
    session_.run(run_, {{session_.schedules().exchange(), layout, words}});
  }

  /// What some rank has found, all know.
  bool any_of(bool found) {
    std::uint8_t word = found ? 1 : 0;
    reduction::Plain words({{&word, &word, 1, DataType::uint8}}, ReduceOp::max, session_.size());
    const Layout layout = Layout::balanced(words, session_.size(), 1, run_.plan.segment_bytes);
    session_.run(run_, {{session_.schedules().exchange(), layout, words}});
    return word != 0;
  }

  /// One rank's share. Its random words are those of the whole vector.
  /// @param first  where it stands there
  FloatTensor share(const Tensor& of, std::size_t count, std::size_t first, const void* from,
                    void* to, DataType from_type) const {
    FloatTensor tensor{{from}, to, count, of.type, codec::codec_for(wire_of(of, options_))};
    if (agreed_) tensor.exponents = {&exponent_, 1};
    tensor.first = first;
    tensor.source_type = from_type;
    tensor.input_exponent = of.input_exponent;
    tensor.output_exponent = of.output_exponent;
    return tensor;
  }

  /// Runs a schedule whose chunk c is share c.
  /// @return whether anything but finite values was delivered
  bool run(const schedule::Schedule& schedule, std::vector<FloatTensor> shares, float divisor) {
    std::optional<RandomStream> draws;
    if (options_.rounding == Rounding::stochastic) {
      draws = RandomStream{.seed = options_.seed.value_or(0),
                           .step = options_.step,
                           .rank = static_cast<std::uint32_t>(session_.rank())};
    }
    const auto sum = reduction::make_float_reduction(options_.accumulate, std::move(shares),
                                                     schedule.parts_travel, divisor, draws);
    const Layout layout = Layout::by_tensor(*sum, session_.size(), run_.plan.segment_bytes);
    session_.run(run_, {{schedule, layout, *sum}});
    bool non_finite = false;
    for (std::size_t i = 0; i < sum->tensors(); ++i) non_finite |= sum->non_finite(i);
    return non_finite;
  }

 private:
  Session& session_;
  Run& run_;
  const AllreduceOptions& options_;
  bool agreed_ = false;
  Word exponent_ = 0;
};

/// @param all  as a tensor of an all-reduce
/// @return whether some rank's values were not finite
bool run_reduce_scatter(Session& session, Run& run, const Shares& parts, const Tensor& all,
                        const Tensor& share, const AllreduceOptions& options) {
  Half half(session, run, options);
  half.agree(all, parts.data, parts.type, parts.ranks);
  std::vector<FloatTensor> shares;
  for (std::size_t rank = 0; rank < parts.ranks; ++rank) {
    shares.push_back(
        half.share(share, share.count, parts.before(rank), parts.of(rank), share.data, parts.type));
  }
  const float divisor = options.op == ReduceOp::average ? static_cast<float>(parts.ranks) : 1.0f;
  const schedule::Schedule& schedule = session.schedules().reduce_scatter(run.plan.algorithm);
  return half.any_of(half.run(schedule, std::move(shares), divisor));
}

/// The same, of what is collected.
bool run_allgather(Session& session, Run& run, const void* mine, const Tensor& all,
                   const Shares& places, const AllreduceOptions& options) {
  Half half(session, run, options);
  Tensor own = all;
  own.count = places.count;
  half.agree(own, mine, all.type, 1);
  std::vector<FloatTensor> shares;
  for (std::size_t rank = 0; rank < places.ranks; ++rank) {
    void* const to = static_cast<std::byte*>(all.data) + places.before(rank) * size_of(all.type);
    shares.push_back(half.share(all, places.count, places.before(rank), mine, to, all.type));
  }
  return half.run(session.schedules().allgather(), std::move(shares), 1.0f);
}

void fill_report(const Tensor& tensor, const Plan& plan, Report& report) {
  report.algorithm = plan.algorithm;
  report.logical_bytes = tensor.count * sizeof(float);
  report.non_finite.assign(1, false);
  report.saturated.assign(1, false);
}

Call call_of_half(Collective collective, const Tensor& all, const AllreduceOptions& options) {
  Call call = call_of({&all, 1}, options);
  call.collective = collective;
  return call;
}

}  // namespace

Report reduce_scatter(Session& session, const void* parts, DataType type, const Tensor& share,
                      const AllreduceOptions& options) {
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
      call_of_half(Collective::reduce_scatter, all, options), [&] { return plan; }, options.timeout,
      report,
      [&](Run& run) {
        check_reduce_scatter(session, shares, share, options);
        report.non_finite[0] = run_reduce_scatter(session, run, shares, all, share, options);
      });
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
      call_of_half(Collective::allgather, all, options), [&] { return plan; }, options.timeout,
      report,
      [&](Run& run) {
        check_allgather(session, mine, all, shares, options);
        report.non_finite[0] = run_allgather(session, run, mine, all, shares, options);
      });
  return report;
}

}  // namespace cpdcomm::collective
