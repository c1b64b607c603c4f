#include "collective/float_sums.hpp"

#include <memory>
#include <vector>

#include "collective/request.hpp"
#include "numerics/scale_exponent.hpp"
#include "reduction/float_reduction.hpp"
#include "reduction/shared_scales.hpp"

namespace cpdcomm::collective {
namespace {

using reduction::FloatTensor;
using Word = std::int16_t;

/// The tensors of floats of a call, their exponents, and their sum.
class FloatSums {
 public:
  FloatSums(const Summing& call, std::span<const std::size_t> places)
      : call_(call), places_(places), grouped_(places.size()) {}

  void operator()() {
    make_room_for_exponents();
    reduction::SharedScales<Word> words(scaled(), reduction::aps_words(call_.world()));
    const auto sum = make_sum();
    run_scaled(call_, words, *sum, grouped_, at_once_);
    sum->finish();
    report(*sum);
  }

 private:
  const Tensor& tensor(std::size_t i) const { return call_.tensors[places_[i]]; }

  /// Whether a tensor is scaled by the exponent of the call before.
  bool is_delayed(std::size_t i) const {
    return call_.options.scaling.kind == Scaling::Kind::delayed &&
           is_scaled(tensor(i), call_.options);
  }
  bool remembers(std::size_t i) const { return is_delayed(i) && tensor(i).memory->known; }
  /// Whether the ranks agree on exponents ahead of the sum. With a residual they do in any case: it
  /// stays as it is when some rank's values are not finite.
  bool needs_words(std::size_t i) const {
    if (tensor(i).count == 0) return false;
    if (tensor(i).residual != nullptr) return true;
    return is_scaled(tensor(i), call_.options) && !remembers(i);
  }
  std::size_t group_of(std::size_t i) const {
    return is_scaled(tensor(i), call_.options) ? call_.options.scaling.group : 0;
  }

  void make_room_for_exponents() {
    std::size_t all = 0;
    for (std::size_t i = 0; i < places_.size(); ++i) {
      counts_.push_back(needs_words(i) ? reduction::groups(tensor(i).count, group_of(i)) : 0);
      all += counts_.back();
    }
    exponents_.resize(all);
  }

  std::vector<reduction::ScaledTensor<Word>> scaled() {
    std::vector<reduction::ScaledTensor<Word>> scaled;
    std::size_t used = 0;
    at_once_ = call_.options.scaling.group != 0;
    for (std::size_t i = 0; i < places_.size(); ++i) {
      if (counts_[i] == 0) continue;
      const std::size_t group = group_of(i);
      if (group == 0 || tensor(i).residual != nullptr) at_once_ = false;
      if (group != 0) grouped_[i] = Grouped{scaled.size(), group};
      scaled.push_back(
          {gradients_of(tensor(i)), group, std::span(exponents_).subspan(used, counts_[i])});
      used += counts_[i];
    }
    return scaled;
  }

  std::unique_ptr<reduction::FloatReduction> make_sum() {
    std::vector<FloatTensor> prepared;
    std::size_t used = 0;
    for (std::size_t i = 0; i < places_.size(); ++i) {
      prepared.push_back(prepare(i, std::span(exponents_).subspan(used, counts_[i])));
      used += counts_[i];
    }
    return reduction::make_float_reduction(accumulate(), std::move(prepared),
                                           call_.schedule().parts_travel, call_.divisor(),
                                           call_.random_words(), host_ranks());
  }

  /// Tensors that are exempt from `exact` and `majority`, which they could not be summed with.
  Accumulate accumulate() const {
    const Accumulate asked = call_.options.accumulate;
    return is_integer_sum(asked) ? Accumulate::wide : asked;
  }

  FloatTensor prepare(std::size_t i, std::span<const Word> agreed) const {
    const Tensor& from = tensor(i);
    reduction::Gradients gradients = gradients_of(from);
    FloatTensor prepared{std::move(gradients.sources), from.data, from.count, from.type,
                         codec::codec_for(wire_of(from, call_.options))};
    prepared.exponents = agreed;
    prepared.group = group_of(i);
    prepared.only_judged = !is_scaled(from, call_.options);
    prepared.place = static_cast<std::uint32_t>(places_[i]);
    prepared.source_type = from.input_type;
    prepared.residual = from.residual;
    prepared.input_exponent = from.input_exponent;
    prepared.output_exponent = from.output_exponent;
    const bool has_hosts = call_.run.plan.algorithm == Algorithm::hierarchical;
    if (has_hosts && call_.options.inner) prepared.inner = codec::codec_for(*call_.options.inner);
    if (is_delayed(i)) prepared.delayed_world = call_.world();
    if (agreed.empty() && remembers(i)) prepared.exponents = {&from.memory->exponent, 1};
    return prepared;
  }

  /// Who joins inside this host, where anybody does.
  std::vector<std::uint32_t> host_ranks() const {
    std::vector<std::uint32_t> ranks;
    if (call_.run.plan.algorithm != Algorithm::hierarchical) return ranks;
    const schedule::Hosts& hosts = call_.session.hosts();
    const int own = hosts[static_cast<std::size_t>(call_.session.rank())];
    for (std::size_t rank = 0; rank < hosts.size(); ++rank) {
      if (hosts[rank] == own) ranks.push_back(static_cast<std::uint32_t>(rank));
    }
    return ranks;
  }

  void report(const reduction::FloatReduction& sum) const {
    for (std::size_t i = 0; i < places_.size(); ++i) {
      call_.report.non_finite[places_[i]] = sum.non_finite(i);
      if (!is_delayed(i)) continue;
      call_.report.saturated[places_[i]] = remembers(i) && sum.saturated(i);
      remember(*tensor(i).memory, sum.largest_exponent(i));
    }
  }

  /// A tensor that is not finite says nothing about the next call, and of zeros the next call is
  /// the first.
  static void remember(ScaleMemory& memory, Word exponent) {
    if (exponent == numerics::kNonFinite) return;
    memory = {exponent != numerics::kNothing, exponent};
  }

  const Summing& call_;
  std::span<const std::size_t> places_;
  std::vector<std::size_t> counts_;  // of exponents, by tensor
  std::vector<Word> exponents_;
  std::vector<std::optional<Grouped>> grouped_;
  bool at_once_ = false;
};

}  // namespace

void sum_floats(const Summing& call, std::span<const std::size_t> places) {
  FloatSums(call, places)();
}

}  // namespace cpdcomm::collective
