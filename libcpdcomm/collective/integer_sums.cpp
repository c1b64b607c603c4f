#include "collective/integer_sums.hpp"

#include <algorithm>
#include <vector>

#include "codec/exact.hpp"
#include "codec/layout.hpp"
#include "collective/request.hpp"
#include "reduction/exact.hpp"
#include "reduction/majority.hpp"
#include "reduction/shared_scales.hpp"

namespace cpdcomm::collective {
namespace {

using reduction::IntegerTensor;
using Word = std::uint32_t;

/// Tensors of one call whose sums are kept in integers, in one format.
class IntegerSums {
 public:
  IntegerSums(const Summing& call, std::span<const std::size_t> places, Format wire)
      : call_(call), places_(places), wire_(wire), grouped_(places.size()) {}

  void exact() {
    const codec::Exact codec(wire_, static_cast<std::uint32_t>(call_.world()));
    make_room_for_words(codec.block());
    reduction::SharedScales<Word> words(scaled(codec.block()), reduction::exact_words(codec));
    reduction::ExactSum sum(prepared(), codec, call_.options.result, call_.divisor(),
                            call_.random_words());
    // What encoding loses is kept only where all is finite, which all words together tell.
    const bool feeds_back = std::any_of(places_.begin(), places_.end(), [&](std::size_t place) {
      return call_.tensors[place].residual != nullptr;
    });
    run_scaled(call_, words, sum, grouped_, !feeds_back);
    report(sum);
  }

  void majority() {
    make_room_for_words(0);
    reduction::SharedScales<Word> words(scaled(0), reduction::non_finite_words());
    reduction::Majority sum(prepared());
    run_scaled(call_, words, sum, grouped_, false);
    report(sum);
  }

 private:
  const Tensor& tensor(std::size_t i) const { return call_.tensors[places_[i]]; }

  void make_room_for_words(std::size_t group) {
    std::size_t all = 0;
    for (std::size_t i = 0; i < places_.size(); ++i) {
      counts_.push_back(tensor(i).count == 0 ? 0 : reduction::groups(tensor(i).count, group));
      all += counts_.back();
    }
    words_.resize(all);
  }

  std::vector<reduction::ScaledTensor<Word>> scaled(std::size_t group) {
    std::vector<reduction::ScaledTensor<Word>> scaled;
    std::size_t used = 0;
    for (std::size_t i = 0; i < places_.size(); ++i) {
      if (counts_[i] == 0) continue;
      if (group != 0) grouped_[i] = Grouped{scaled.size(), group};
      scaled.push_back(
          {gradients_of(tensor(i)), group, std::span(words_).subspan(used, counts_[i])});
      used += counts_[i];
    }
    return scaled;
  }

  std::vector<IntegerTensor> prepared() const {
    std::vector<IntegerTensor> prepared;
    std::size_t used = 0;
    for (std::size_t i = 0; i < places_.size(); ++i) {
      const Tensor& from = tensor(i);
      prepared.push_back({gradients_of(from), from.data, from.type,
                          std::span(words_).subspan(used, counts_[i]), from.output_exponent,
                          static_cast<std::uint32_t>(places_[i])});
      used += counts_[i];
    }
    return prepared;
  }

  void report(const reduction::IntegerSums& sum) const {
    for (std::size_t i = 0; i < places_.size(); ++i) {
      call_.report.non_finite[places_[i]] = sum.non_finite(i);
    }
  }

  const Summing& call_;
  std::span<const std::size_t> places_;
  Format wire_;
  std::vector<std::size_t> counts_;  // of words, by tensor
  std::vector<Word> words_;
  std::vector<std::optional<Grouped>> grouped_;
};

}  // namespace

void sum_integers(const Summing& call, std::span<const std::size_t> places) {
  if (call.options.accumulate == Accumulate::majority) {
    IntegerSums(call, places, call.options.wire).majority();
    return;
  }
  // Formats one after the other, in the order in which they appear.
  std::vector<std::size_t> left(places.begin(), places.end());
  while (!left.empty()) {
    const Format wire = wire_of(call.tensors[left.front()], call.options);
    const auto others = std::stable_partition(left.begin(), left.end(), [&](std::size_t place) {
      return wire_of(call.tensors[place], call.options) == wire;
    });
    IntegerSums(call, {left.begin(), others}, wire).exact();
    left.erase(left.begin(), others);
  }
}

}  // namespace cpdcomm::collective
