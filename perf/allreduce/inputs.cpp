#include "allreduce/inputs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>

#include "cpdcomm/error.hpp"
#include "numerics/random_word.hpp"

namespace cpdcomm::perf {
namespace {

/// Keeps these words apart from those of stochastic rounding, which count training steps here.
constexpr std::uint32_t kStep = 0xffffffffu;

/// 24 of a word's bits as a number in (0, 1].
float unit(std::uint32_t word) { return static_cast<float>((word >> 8) + 1) * 0x1p-24f; }

class Random final : public Inputs {
 public:
  explicit Random(std::uint32_t seed) : seed_(seed) {}

  void fill(int rank, std::size_t first, std::span<float> out) const override {
    for (std::size_t done = 0; done < out.size();) {
      const std::array<float, 4> values = group(rank, (first + done) / 4);
      const std::size_t skip = (first + done) % 4;
      const std::size_t now = std::min(values.size() - skip, out.size() - done);
      std::copy_n(values.data() + skip, now, out.data() + done);
      done += now;
    }
  }

  std::string describe() const override {
    return fmt::format("standard normal numbers, seed {}", seed_);
  }

 private:
  /// Values 4 * index to 4 * index + 3: two pairs, each from two words.
  std::array<float, 4> group(int rank, std::uint64_t index) const {
    const auto random = numerics::random_words(
        {.seed = seed_, .step = kStep, .rank = static_cast<std::uint32_t>(rank)}, index);
    std::array<float, 4> values;
    for (std::size_t pair = 0; pair < 4; pair += 2) {
      const float radius = std::sqrt(-2.0f * std::log(unit(random.words[pair])));
      const float angle = 2 * std::numbers::pi_v<float> * unit(random.words[pair + 1]);
      values[pair] = radius * std::cos(angle);
      values[pair + 1] = radius * std::sin(angle);
    }
    return values;
  }

  std::uint32_t seed_;
};

/// Rows laid end to end in a ring; ranks start at different places of it.
class Array final : public Inputs {
 public:
  Array(std::vector<float> values, std::size_t rows, std::size_t columns, int ranks,
        std::string name)
      : values_(std::move(values)),
        rows_(rows),
        columns_(columns),
        ranks_(static_cast<std::size_t>(ranks)),
        name_(std::move(name)) {}

  void fill(int rank, std::size_t first, std::span<float> out) const override {
    std::size_t at = (start(static_cast<std::size_t>(rank)) + first) % values_.size();
    for (std::size_t done = 0; done < out.size();) {
      const std::size_t now = std::min(values_.size() - at, out.size() - done);
      std::copy_n(values_.data() + at, now, out.data() + done);
      done += now;
      at = 0;
    }
  }

  std::string describe() const override {
    return fmt::format("{}, {} x {} values", name_, rows_, columns_);
  }

 private:
  std::size_t start(std::size_t rank) const {
    return rows_ == 1 ? rank * columns_ / ranks_ : rank % rows_ * columns_;
  }

  std::vector<float> values_;
  std::size_t rows_;
  std::size_t columns_;
  std::size_t ranks_;
  std::string name_;
};

}  // namespace

std::unique_ptr<Inputs> random_inputs(std::uint32_t seed) { return std::make_unique<Random>(seed); }

std::unique_ptr<Inputs> array_inputs(std::vector<float> values, std::size_t rows,
                                     std::size_t columns, int ranks, std::string name) {
  if (rows == 0 || columns == 0 || values.size() / columns != rows || values.size() % columns) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{}: {} values are not {} x {}, at least one", name, values.size(),
                            rows, columns));
  }
  if (ranks < 1) {
    throw Error(ErrorCode::invalid_argument,
                fmt::format("{} for {} ranks; allowed is 1 and more", name, ranks));
  }
  return std::make_unique<Array>(std::move(values), rows, columns, ranks, std::move(name));
}

}  // namespace cpdcomm::perf
