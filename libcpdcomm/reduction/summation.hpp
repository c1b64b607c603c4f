#pragma once

#include <algorithm>
#include <vector>

#include "codec/codec.hpp"
#include "cpdcomm/options.hpp"

namespace cpdcomm::reduction {

/// A partial sum of a tile: values that are worked on at once, never part of a format's block. What
/// `wide` and `rounded` keep is `sum` alone.
struct PartialSum {
  std::vector<float> sum;
  std::vector<float> compensation;

  void resize(std::size_t count) {
    sum.resize(count);
    compensation.resize(count);
  }
  void clear(std::size_t count) {
    std::fill_n(sum.begin(), count, 0.0f);
    std::fill_n(compensation.begin(), count, 0.0f);
  }
};

/// The cast Q of a block of one tensor, after scaling.
class Cast {
 public:
  Cast(const codec::Codec& codec, const CastOptions& options) : codec_(codec), options_(options) {}
  void operator()(float* values, std::size_t count) const {
    codec_.round(values, count, options_, values);
  }

 private:
  const codec::Codec& codec_;
  CastOptions options_;
};

/// How partial sums are kept: `wide`, `rounded` or `kahan`.
class Summation {
 public:
  virtual ~Summation() = default;

  /// Whether a partial sum is a pair.
  virtual bool has_compensation() const { return false; }
  /// Whether to join is no more than to add.
  virtual bool only_adds() const { return false; }
  /// Adds one rank's or node's part.
  virtual void add(PartialSum& to, const float* part, std::size_t count,
                   const Cast& cast) const = 0;
  /// Joins a later partial sum.
  virtual void join(PartialSum& to, const PartialSum& later, std::size_t count,
                    const Cast& cast) const = 0;
};

/// The summation of `wide`, `rounded` or `kahan`.
/// @throws Error invalid_argument for another
const Summation& summation_for(Accumulate accumulate);

}  // namespace cpdcomm::reduction
