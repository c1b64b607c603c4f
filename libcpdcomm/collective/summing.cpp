#include "collective/summing.hpp"

#include <fmt/format.h>

#include "collective/layout.hpp"

namespace cpdcomm::collective {
namespace {

// Words are few: up to so many ranks each tells all others, in one hop.
constexpr int kMostExchangeRanks = 16;
constexpr std::size_t kMostExchangeBytes = 4096;

std::vector<std::size_t> multiples_of(const std::vector<std::optional<Grouped>>& grouped) {
  std::vector<std::size_t> multiples;
  for (const auto& tensor : grouped) multiples.push_back(tensor ? tensor->group : 1);
  return multiples;
}

Layout layout_of(const Summing& call, const reduction::Reduction& reduction,
                 std::span<const std::size_t> multiples) {
  return Layout::balanced(reduction, call.session.size(), call.schedule().chunks,
                          call.run.plan.segment_bytes, multiples);
}

std::size_t bytes_of_all(const reduction::Reduction& reduction) {
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < reduction.tensors(); ++i) {
    bytes += reduction.bytes(i, reduction.count(i), {Payload::part, 1});
  }
  return bytes;
}

void run_words_first(const Summing& call, reduction::Reduction& words) {
  Session& session = call.session;
  const bool few = bytes_of_all(words) <= kMostExchangeBytes;
  if (!few || session.size() > kMostExchangeRanks) {
    run_alone(call, words);
    return;
  }
  const Layout layout = Layout::balanced(words, session.size(), 1, call.run.plan.segment_bytes);
  session.run(call.run, {{session.schedules().exchange(), layout, words}});
}

/// Whether the words of every slice fit into a message.
bool fit(const Slices& slices, std::size_t chunks, const reduction::Reduction& words) {
  std::vector<reduction::Range> ranges;
  for (std::size_t chunk = 0; chunk < chunks; ++chunk) {
    for (std::size_t segment = 0; segment < slices.segments(); ++segment) {
      slices.slice(chunk, segment, ranges);
      std::size_t bytes = 0;
      for (const auto& range : ranges) {
        bytes += words.bytes(range.tensor, range.count, {Payload::part, 1});
      }
      if (bytes > kLargestBody) return false;
    }
  }
  return true;
}

/// Words segment by segment with the sum, or ahead of it where a segment's are more than a message.
void run_in_groups(const Summing& call, reduction::Reduction& words, reduction::Reduction& sum,
                   const std::vector<std::optional<Grouped>>& grouped) {
  Session& session = call.session;
  const schedule::Schedule& schedule = call.schedule();
  const Layout layout = layout_of(call, sum, multiples_of(grouped));
  const bool one_chunk = session.size() <= kMostExchangeRanks;
  const GroupSlices slices(layout, grouped, static_cast<std::size_t>(schedule.chunks), one_chunk);
  const auto chunks = one_chunk ? 1 : static_cast<std::size_t>(schedule.chunks);
  if (!fit(slices, chunks, words)) {
    run_words_first(call, words);
    session.run(call.run, {{schedule, layout, sum}});
    return;
  }
  const schedule::Schedule& way = one_chunk ? session.schedules().exchange() : schedule;
  session.run(call.run, {{way, slices, words}, {schedule, layout, sum}});
}

}  // namespace

std::uint64_t Summing::world() const {
  return static_cast<std::uint64_t>(session.size()) *
         static_cast<std::uint64_t>(options.emulate_nodes);
}

float Summing::divisor() const {
  return options.op == ReduceOp::average ? static_cast<float>(world()) : 1.0f;
}

std::optional<RandomStream> Summing::random_words() const {
  if (options.rounding != Rounding::stochastic) return std::nullopt;
  return RandomStream{.seed = options.seed.value_or(0),
                      .step = options.step,
                      .rank = static_cast<std::uint32_t>(session.rank())};
}

const schedule::Schedule& Summing::schedule() const {
  if (run.plan.exchange) return session.schedules().exchange();
  return session.schedules().allreduce(run.plan.algorithm, run.plan.across);
}

const void* own_part(const Tensor& tensor) {
  return tensor.input == nullptr ? tensor.data : tensor.input;
}

reduction::Gradients gradients_of(const Tensor& tensor) {
  reduction::Gradients gradients{{},
                                 tensor.count,
                                 tensor.input_type.value_or(tensor.type),
                                 tensor.residual,
                                 tensor.input_exponent};
  gradients.sources.assign(tensor.nodes.begin(), tensor.nodes.end());
  if (gradients.sources.empty()) gradients.sources.push_back(own_part(tensor));
  return gradients;
}

void run_alone(const Summing& call, reduction::Reduction& reduction) {
  const Layout layout = layout_of(call, reduction, {});
  call.session.run(call.run, {{call.schedule(), layout, reduction}});
}

void run_scaled(const Summing& call, reduction::Reduction& words, reduction::Reduction& sum,
                const std::vector<std::optional<Grouped>>& grouped, bool at_once) {
  if (!cuts_fit_a_message(sum, call.session.size())) {
    throw Error(ErrorCode::unsupported,
                fmt::format("the values between two cuts of a tensor (a block of wire and inner "
                            "format) take more than the {} bytes of a message",
                            kLargestBody));
  }
  if (words.tensors() == 0) {
    run_alone(call, sum);
  } else if (at_once && groups_fit_a_message(sum, call.session.size(), multiples_of(grouped))) {
    run_in_groups(call, words, sum, grouped);
  } else {
    run_words_first(call, words);
    run_alone(call, sum);
  }
}

}  // namespace cpdcomm::collective
